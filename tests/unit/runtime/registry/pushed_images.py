"""Small images for pushes, made in a store without a build."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from runtime.oci.digest import canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, LAYER, Descriptor, Manifest
from runtime.registry.layer_push import How, PushedLayer
from runtime.store.records import Image, Layer
from runtime.store.store import Store


def noise(size: int, seed: int) -> bytes:
    """Content that no compressor makes smaller."""
    return random.Random(seed).randbytes(size)


def layer_of(store: Store, label: str, files: Mapping[str, bytes]) -> Layer:
    """A layer with *files*."""
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir(mode=0o755)
        for name, content in files.items():
            (root / name).write_bytes(content)
            (root / name).chmod(0o755)
        return store.publish(digest_bytes(canonical_json([label, sorted(files)])), root, label=label)


def image_of(
    store: Store, layers: Sequence[Layer], *, command: Sequence[str] = (), names: Sequence[str] = (), architecture: str = "amd64"
) -> Image:
    """An image of *layers*, bottom first."""
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": layer.label} for layer in layers],
    }
    encoded = canonical_json(config)
    manifest = Manifest(
        Descriptor(CONFIG, digest_bytes(encoded), len(encoded)),
        tuple(Descriptor(LAYER, layer.diff_id, layer.size_bytes) for layer in layers),
    )
    return store.put_image(config=config, manifest=manifest.to_json(), layers=layers, names=names)


class Heard:
    """A PushObserver that remembers."""

    def __init__(self) -> None:
        self.layers: dict[str, PushedLayer] = {}
        self.sent: dict[str, int] = {}

    def layer_pushed(self, label: str, layer: PushedLayer) -> None:
        self.layers[label] = layer

    def sending(self, label: str, sent_bytes: int, size_bytes: int) -> None:
        assert 0 <= sent_bytes <= size_bytes
        self.sent[label] = sent_bytes

    def how(self) -> dict[str, How]:
        return {label: layer.how for label, layer in self.layers.items()}
