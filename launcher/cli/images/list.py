"""`launch images`: the images in the store, oldest first; `launch images history IMAGE`: the steps of one, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from launcher.cli import render
from launcher.plan.images.image_facts import image_history
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store

_WIDTH = 90


def list_images(*, as_json: bool) -> int:
    images = sorted(Store(state_dir().store).images(), key=lambda image: image.created_at)
    if as_json:
        render.print_json([_document(image) for image in images])
    elif images:
        print(render.table(("IMAGE", "NAMES", "LAYERS", "SIZE", "CREATED"), [_image_row(image) for image in images]))
    else:
        render.say("no images; `launch build experiment=digits` makes one")
    return 0


def show_history(reference: str, *, full: bool, as_json: bool) -> int:
    """Which step made each layer and how big that is, as `docker history`."""
    steps = image_history(Store(state_dir().store).image(reference))[::-1]
    if as_json:
        render.print_json(steps)
    elif steps:
        print(render.table(("LAYER", "CREATED", "SIZE", "CREATED BY"), [_step_row(step, full=full) for step in steps]))
    return 0


def _image_row(image: Image) -> tuple[str, ...]:
    created = datetime.fromtimestamp(image.created_at).strftime("%Y-%m-%d %H:%M:%S")
    return image.digest.short, ", ".join(image.names) or "-", str(len(image.layers)), render.size(image.size_bytes), created


def _document(image: Image) -> dict[str, object]:
    return {
        "image_digest": str(image.digest),
        "names": list(image.names),
        "layers": [
            {"label": layer.label, "diff_id": str(layer.diff_id), "size_bytes": layer.size_bytes} for layer in image.layers
        ],
        "size_bytes": image.size_bytes,
        "created_at": image.created_at,
    }


def _step_row(step: dict[str, Any], *, full: bool) -> tuple[str, ...]:
    words = render.printable(" ".join(str(step["created_by"]).split()))
    if step["made_of"]:
        words += f" (with {', '.join(step['made_of'][1:])})"
    if not full and len(words) > _WIDTH:
        words = f"{words[: _WIDTH - 1]}…"
    layer = "-" if step["empty"] else step["diff_id"][7:19]
    return layer, render.printable(str(step["created"] or "-")[:19]), render.size(step["size_bytes"]), words
