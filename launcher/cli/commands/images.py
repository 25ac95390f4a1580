"""`launch images`, `launch images rm IMAGE`: what the store holds, and taking an image out of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images", "List the images in the store, oldest first, or remove some.", usage="[rm IMAGE ...] [--json]")
    parser.add_argument(
        "action", nargs="?", choices=["rm"], help="remove images and their names; `launch store gc` frees their layers"
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if options.action == "rm":
        return _remove(options.images, parser)
    images = sorted(Store(state_dir().store).images(), key=lambda image: image.created_at)
    if options.json:
        json.dump([_document(image) for image in images], sys.stdout, indent=2)
        print()
    elif images:
        print(render.table(("IMAGE", "NAMES", "LAYERS", "SIZE", "CREATED"), [_row(image) for image in images]))
    else:
        render.say("no images; `launch build experiment=digits` makes one")
    return 0


def _remove(references: Sequence[str], parser: args.Parser) -> int:
    from runtime.store.garbage import remove_image

    if not references:
        parser.error("`launch images rm` needs an IMAGE")
    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in references]:
        remove_image(store, image)
        print(image.digest.short)
    return 0


def _row(image: Image) -> tuple[str, ...]:
    created = datetime.fromtimestamp(image.created_at).strftime("%Y-%m-%d %H:%M:%S")
    return image.digest.short, ", ".join(image.names) or "-", str(len(image.layers)), render.size(_size(image)), created


def _document(image: Image) -> dict[str, object]:
    return {
        "image_digest": str(image.digest),
        "names": list(image.names),
        "layers": [
            {"label": layer.label, "diff_id": str(layer.diff_id), "size_bytes": layer.size_bytes} for layer in image.layers
        ],
        "size_bytes": _size(image),
        "created_at": image.created_at,
    }


def _size(image: Image) -> int:
    return sum(layer.size_bytes for layer in image.layers)
