"""What there is to know about an image of the store, as JSON data: `launch images show` and `history` print it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from launcher.plan.images.recipe import Recipe, readable_recipe
from runtime.build.plan import ImportImage, UnpackDebs
from runtime.oci.digest import Digest
from runtime.registry.known_places import pulls, pushes
from runtime.store.in_use import pinned_images
from runtime.store.records import Image
from runtime.store.store import Store


def image_facts(image: Image, store: Store) -> dict[str, Any]:
    """All of it but who used the image, which the records of runs know."""
    others = [other for other in store.images() if other.digest != image.digest]
    recipe = readable_recipe(image, store)
    elsewhere = {layer.diff_id for other in others for layer in other.layers}
    return {
        "image_digest": str(image.digest),
        "names": sorted(names_of(image, store)),
        "in_store_since": datetime.fromtimestamp(image.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "created": image.config.get("created"),
        "platform": f"{image.config.get('os', 'linux')}/{image.config.get('architecture', '')}",
        "size_bytes": image.size_bytes,
        "shared_bytes": sum(layer.size_bytes for layer in image.layers if layer.diff_id in elsewhere),
        "config_digest": image.manifest.get("config", {}).get("digest"),
        "base": None if recipe is None else base_of(recipe),
        "recipe": _recipe_facts(recipe),
        "pinned": image.digest in pinned_images(store),
        "pulled": _places(pulls(image, store), "pulled_at"),
        "pushed": _places(pushes(image, store), "pushed_at"),
        "config": image.execution,
        "layers": [
            {
                "diff_id": str(layer.diff_id),
                "label": label,
                "size_bytes": layer.size_bytes,
                "shared_with": _names_of_those_with(layer.diff_id, others),
            }
            for layer, label in zip(image.layers, _labels(image), strict=True)
        ],
    }


def names_of(image: Image, store: Store) -> tuple[str, ...]:
    """The names that lead to *image* now."""
    return next((each.names for each in store.images() if each.digest == image.digest), ())


def base_of(recipe: Recipe) -> dict[str, Any] | None:
    """What the image starts from; None when it starts from nothing (`FROM scratch`)."""
    asked = None if recipe.plan is None else recipe.plan.spec.image.base
    for step in recipe.build.steps:
        if isinstance(step, ImportImage):
            return {"reference": step.reference, "digest": str(step.manifest_digest)}
        if isinstance(step, UnpackDebs):
            digest = None if recipe.plan is None else str(recipe.plan.base_digest)
            return {"reference": asked or f"bootstrap:debian/{step.suite}", "digest": digest}
    return None


def image_history(image: Image) -> list[dict[str, Any]]:
    """The steps of *image*, the first one first: what the configuration's history says, with the layer of each.

    Steps that changed no file have no layer. Where several of our layers share one of the manifest, `made_of` names them.
    """
    entries = [entry for entry in image.config.get("history") or () if isinstance(entry, dict)]
    layers: list[dict[str, Any]] = image.manifest.get("layers", [])
    found = []
    which = 0
    for entry in entries:
        has_layer = not entry.get("empty_layer") and which < len(layers)
        found.append(_history_entry(image, entry, which if has_layer else None))
        which += has_layer
    # A history is optional (config.md): layers that it doesn't mention are layers all the same.
    found += [_history_entry(image, {}, rest) for rest in range(which, len(layers))]
    return found


def _history_entry(image: Image, entry: dict[str, Any], which: int | None) -> dict[str, Any]:
    group = () if which is None or which >= len(image.groups) else image.groups[which]
    labels = [image.layers[position].label for position in group]
    return {
        "created": entry.get("created"),
        "created_by": entry.get("created_by") or (labels[0] if labels else ""),
        "comment": entry.get("comment") or "",
        "empty": which is None,
        "layer": which,
        "diff_id": None if which is None else image.manifest["layers"][which]["digest"],
        "size_bytes": 0 if which is None else image.manifest["layers"][which]["size"],
        "made_of": labels if len(labels) > 1 else [],
    }


def _labels(image: Image) -> list[str]:
    """What each layer is. One that came with an image is what that image's history says."""
    labels = [layer.label for layer in image.layers]
    for step in image_history(image):
        group = () if step["layer"] is None else image.groups[step["layer"]]
        if len(group) == 1 and labels[group[0]].startswith("imported layer") and step["created_by"]:
            labels[group[0]] = step["created_by"]
    return labels


def _recipe_facts(recipe: Recipe | None) -> dict[str, Any] | None:
    if recipe is None:
        return None
    experiment = None if recipe.plan is None else recipe.plan.spec.name
    lock = None if recipe.plan is None or recipe.plan.lock is None else str(recipe.plan.lock.digest)
    code = None if recipe.plan is None else str(recipe.plan.code.digest)
    return {"made_by": recipe.made_by, "experiment": experiment, "lock_digest": lock, "code_digest": code}


def _places(places: Sequence[dict[str, Any]], when: str) -> list[dict[str, Any]]:
    return [{name: each.get(name) for name in ("reference", "manifest_digest", when)} for each in places]


def _names_of_those_with(diff_id: Digest, images: Sequence[Image]) -> list[str]:
    having = (image for image in images if any(layer.diff_id == diff_id for layer in image.layers))
    return [image.names[0] if image.names else image.digest.short for image in having]
