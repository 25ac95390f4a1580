"""`launch images show IMAGE`: what an image is and is made of, where it is, who has used it; `launch images sbom IMAGE`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from launcher.cli import render
from launcher.plan.images.image_facts import image_facts
from launcher.plan.images.recipe import SBOM
from runtime.oci.digest import Digest
from runtime.plurals import counted, first_few
from runtime.state_dir import StateDir, state_dir
from runtime.store.store import Store

_MOST_SHOWN = 5
_WIDTH = 90


def show_image(reference: str, *, as_json: bool) -> int:
    state = state_dir()
    store = Store(state.store)
    image = store.image(reference)
    facts = {**image_facts(image, store), "runs": _runs(state, image.digest)}
    if as_json:
        render.print_json(facts)
    else:
        print("\n".join(_lines(facts)))
    return 0


def show_bill(reference: str) -> int:
    """The software in an image, as CycloneDX JSON."""
    store = Store(state_dir().store)
    image = store.image(reference)
    content = store.attached(image, SBOM)
    if content is None:
        # It had no run yet, which would have kept it.
        from launcher.plan.images.image_facts import names_of
        from launcher.plan.images.recipe import sbom_from_recipe

        document = sbom_from_recipe(image, store, name=next(iter(names_of(image, store)), image.digest.short))
    else:
        document = json.loads(content)
    render.print_json(document, ensure_ascii=False)
    return 0


def _runs(state: StateDir, digest: Digest) -> list[dict[str, str]]:
    from launcher.tracking.record.find_runs import list_runs

    records = [record for record in list_runs(state) if record.image_digest == digest]
    return [{"run_id": record.run_id, "experiment": record.experiment, "status": str(record.status)} for record in records]


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    # A registry's digest of the image is another one, since it names compressed layers.
    yield f"{facts['image_digest']}{'  in this store' if facts['pulled'] or facts['pushed'] else ''}"
    for name, value in _rows(facts):
        if value:
            yield f"  {name:<11} {render.printable(value)}"
    yield "  layers, bottom first:"
    width = max((len(render.size(layer["size_bytes"])) for layer in facts["layers"]), default=0)
    for layer in facts["layers"]:
        shared = layer["shared_with"]
        also = f"  (also in {first_few(shared, most=_MOST_SHOWN)})" if shared else ""
        yield f"    {layer['diff_id'][7:19]}  {render.size(layer['size_bytes']):>{width}}  {_one_line(layer['label'])}{also}"


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    shared = f", {render.size(facts['shared_bytes'])} of it shared with other images" if facts["shared_bytes"] else ""
    yield "names", ", ".join(facts["names"])
    yield "pinned", "yes: `launch gc` leaves it" if facts["pinned"] else ""
    yield "in store", f"since {facts['in_store_since']}"
    yield "platform", facts["platform"]
    yield "size", f"{render.size(facts['size_bytes'])} in {counted(len(facts['layers']), 'layer')}{shared}"
    yield "base", _base(facts["base"])
    yield "recipe", _recipe(facts["recipe"])
    yield "sbom", "`launch images sbom` prints it"
    yield from _config_rows(facts["config"])
    yield from _places("pulled", facts["pulled"])
    yield from _places("pushed", facts["pushed"])
    yield "runs", first_few([run["run_id"] for run in reversed(facts["runs"])], most=_MOST_SHOWN)


def _places(how: str, places: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """`NAME@DIGEST` of each, as the registry has it."""
    for number, place in enumerate(places[:_MOST_SHOWN]):
        digest = f"@{place['manifest_digest']}" if place["manifest_digest"] else ""
        yield "" if number else how, f"{place['reference']}{digest}"
    if len(places) > _MOST_SHOWN:
        yield "", f"and {len(places) - _MOST_SHOWN} more"


def _config_rows(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for number, pair in enumerate(sorted(config.get("Env") or ())):
        yield "" if number else "env", pair
    yield "workdir", config.get("WorkingDir") or ""
    yield "user", config.get("User") or ""
    yield "entrypoint", shlex.join(config.get("Entrypoint") or ())
    yield "command", shlex.join(config.get("Cmd") or ())
    yield "shell", shlex.join(config.get("Shell") or ())
    yield "ports", ", ".join(sorted(config.get("ExposedPorts") or ()))
    yield "volumes", ", ".join(sorted(config.get("Volumes") or ()))
    yield "stop signal", config.get("StopSignal") or ""
    yield "health", _health(config.get("Healthcheck") or {})
    for number, trigger in enumerate(config.get("OnBuild") or ()):
        yield "" if number else "onbuild", trigger
    for number, (name, value) in enumerate(sorted((config.get("Labels") or {}).items())):
        yield "" if number else "labels", f"{name}={value}"


def _health(check: dict[str, Any]) -> str:
    """`curl -f x (every 30 s, at most 5 s, retries: 3)`, of what HEALTHCHECK says."""
    kind, *words = check.get("Test") or ("",)
    said = {"NONE": "none", "CMD": shlex.join(words)}.get(kind, " ".join(words))
    named = (("Interval", "every"), ("Timeout", "at most"), ("StartPeriod", "from"), ("StartInterval", "at first every"))
    times = [f"{words} {check[name] / 1e9:g} s" for name, words in named if check.get(name)]
    details = ", ".join((*times, *([f"retries: {check['Retries']}"] if check.get("Retries") else [])))
    return f"{said} ({details})" if details else said


def _base(base: dict[str, Any] | None) -> str:
    if base is None:
        return ""
    return base["reference"] if base["digest"] is None else f"{base['reference']} ({base['digest'][:19]})"


def _recipe(recipe: dict[str, Any] | None) -> str:
    if recipe is None:
        return "not known: the image was not built here"
    what = f"experiment {recipe['experiment']}" if recipe["experiment"] else "a Dockerfile"
    return f"{what}, recorded by launch {recipe['made_by']}"


def _one_line(label: str) -> str:
    """On one line, and not much longer than one."""
    line = render.printable(" ".join(label.split()))
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
