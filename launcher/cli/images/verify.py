"""`launch verify IMAGE`: make an image again from its recipe and compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from runtime.layer.tree import printable
from runtime.plurals import counted
from runtime.state_dir import state_dir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.plan.images.verify import FileMismatch, LayerDifference, Verification

_FILES_SHOWN = 20


def verify_image(options: Options) -> int:
    verdict = _verify(options, Talk.of(options, quiet=options.json))
    if options.json:
        render.print_json(_document(verdict))
    else:
        _print(verdict)
    return 0 if verdict.identical else 1


def _verify(options: Options, talk: Talk) -> Verification:
    from launcher.cli.images.dockerfile_build import read_secret
    from launcher.cli.progress import build_progress
    from launcher.plan.images.verify import amend_places, recipe_of, verify

    state = state_dir().ensure()
    store = Store(state.store)
    image = store.image(options.image)
    recipe = recipe_of(image, store)
    asked = amend_places(recipe, tuple(options.overrides), cwd=Path.cwd())
    secrets = dict(read_secret(text, os.environ) for text in options.secret)
    with build_progress(recipe.build, talk) as observer:
        return verify(
            image, store, state=state, environ=os.environ, asked=asked, secrets=secrets, observer=observer, keep=options.keep
        )


def _print(verdict: Verification) -> None:
    for note in verdict.notes:
        render.say(note)
    layers = counted(len(verdict.rebuilt.layers), "layer")
    if verdict.identical:
        print(f"identical  {verdict.image.digest}")
        render.say(f"{layers} made again in {render.duration(verdict.seconds)}")
    else:
        print(f"different  {verdict.image.digest} recorded, {verdict.rebuilt.digest} rebuilt")
        for difference in verdict.layers:
            _print_layer(difference, len(verdict.image.layers))
        for line in verdict.configuration:
            print(f"configuration  {line}")
    if verdict.kept is not None:
        render.say(f"kept: LAUNCH_HOME={verdict.kept} has the rebuilt image")


def _print_layer(difference: LayerDifference, of: int) -> None:
    if difference.recorded is None or difference.rebuilt is None:
        what = "only the recorded image has it" if difference.rebuilt is None else "only the rebuilt image has it"
    else:
        what = difference.note or f"{counted(len(difference.files), 'path')} not the same"
    print(f"layer {difference.position} of {of}  {difference.label}: {what}")
    for file in difference.files[:_FILES_SHOWN]:
        print(f"  {printable(file.path)}  {', '.join(file.what)}")
        for line in file.detail:
            print(f"    {line}")
    if len(difference.files) > _FILES_SHOWN:
        print(f"  … {len(difference.files) - _FILES_SHOWN} files more (`--json` lists them)")


def _document(verdict: Verification) -> dict[str, object]:
    return {
        "identical": verdict.identical,
        "image_digest": str(verdict.image.digest),
        "rebuilt_digest": str(verdict.rebuilt.digest),
        "layers": [
            {
                "position": difference.position,
                "label": difference.label,
                "recorded": difference.recorded,
                "rebuilt": difference.rebuilt,
                "note": difference.note,
                "files": [_file_document(file) for file in difference.files],
            }
            for difference in verdict.layers
        ],
        "configuration": list(verdict.configuration),
        "notes": list(verdict.notes),
        "seconds": verdict.seconds,
        "kept": None if verdict.kept is None else str(verdict.kept),
    }


def _file_document(file: FileMismatch) -> dict[str, object]:
    return {"path": printable(file.path), "what": list(file.what), "detail": list(file.detail)}
