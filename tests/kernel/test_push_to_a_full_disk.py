"""Disks that are full, at either end of a push: told in one sentence, and nothing is left behind."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from registry_server import left_in, registry_server

from runtime.http.client import Patience
from runtime.oci.digest import canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, LAYER, Descriptor, Manifest
from runtime.oci.reference import Remote
from runtime.registry.layer_push import PushedLayer
from runtime.registry.push import push_image
from runtime.registry.refusals import RegistryRefusal
from runtime.store.records import Image
from runtime.store.store import Store

pytestmark = [
    pytest.mark.requires("docker-registry", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system"),
]

MB = 1_000_000
HASTE = Patience(timeout_s=20, attempts=3, first_pause_s=0.02)


class _Silent:
    def layer_pushed(self, label: str, layer: PushedLayer) -> None: ...
    def sending(self, label: str, sent_bytes: int, size_bytes: int) -> None: ...


def _image(store: Store, *sizes: int) -> Image:
    layers = []
    for size in sizes:
        with store.staging() as staging:
            root = staging / "root"
            root.mkdir(mode=0o755)
            (root / f"file-{size}").write_bytes(random.Random(size).randbytes(size))
            layers.append(store.publish(digest_bytes(b"%d" % size), root, label=f"{size} bytes"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]}}
    encoded = canonical_json(config)
    manifest = Manifest(
        Descriptor(CONFIG, digest_bytes(encoded), len(encoded)),
        tuple(Descriptor(LAYER, layer.diff_id, layer.size_bytes) for layer in layers),
    )
    return store.put_image(config=config, manifest=manifest.to_json(), layers=layers)


@pytest.mark.parametrize("size", [3 * MB, 12 * MB], ids=["one request", "a stream"])
def test_a_registry_whose_disk_is_full_is_named(tmp_path: Path, size: int) -> None:
    store = Store(tmp_path / "store").ensure()
    image = _image(store, size)
    with registry_server(tmp_path / "registry", disk_bytes=2 * MB) as server:
        with pytest.raises(RegistryRefusal) as caught:
            push_image(
                image, store, Remote(server.address, "full", "latest", None), observer=_Silent(), environ={}, patience=HASTE
            )
    assert f"registry `{server.address}`" in caught.value.message
    assert caught.value.status >= 500
    assert "a full disk" in (caught.value.hint or "")
    assert left_in(store.root / "tmp") == []


_PUSH_ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from runtime.errors import StoreError
from runtime.oci.reference import Remote
from runtime.registry.push import push_image
from runtime.store.store import Store
class Silent:
    def layer_pushed(self, *_): ...
    def sending(self, *_): ...
store = Store(Path(sys.argv[1]))
try:
    push_image(store.images()[0], store, Remote(sys.argv[2], "a", "latest", None), observer=Silent(), environ={})
except StoreError as error:
    print(error.message, "|", error.hint)
"""


def test_our_own_disk_being_full_is_told_with_a_way_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    _image(store, 12 * MB)
    mounted = 'mount -t tmpfs -o size=4m tmpfs "$0/tmp" && exec "$@"'
    with registry_server(tmp_path / "registry") as server:
        program = [sys.executable, "-c", _PUSH_ON_A_SMALL_DISK, str(store.root), server.address]
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", mounted, str(store.root), *program]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert "cannot compress a layer" in done.stdout
    assert "no space left on device" in done.stdout
    assert "the disk is full" in done.stdout
