"""`launch images`: the images in the store, oldest first."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from launcher.cli import render
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def list_images(*, as_json: bool) -> int:
    images = sorted(Store(state_dir().store).images(), key=lambda image: image.created_at)
    if as_json:
        json.dump([_document(image) for image in images], sys.stdout, indent=2)
        print()
    elif images:
        print(render.table(("IMAGE", "NAMES", "LAYERS", "SIZE", "CREATED"), [_row(image) for image in images]))
    else:
        render.say("no images; `launch build experiment=digits` makes one")
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
