"""Where LAUNCH_HOME can carry no writable layer: an overlay stands in for NFS and Lustre, which overlayfs refuses as well."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import libc, mounts
from runtime.oci.digest import digest_bytes
from runtime.rootfs.overlay_trial import why_no_writable_layer
from runtime.rootfs.removal import remove_tree
from runtime.store.layer_on_disk import damage_of
from runtime.store.node_store import copy_layers_here, node_store
from runtime.store.records import Image
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts")


@pytest.fixture
def disk() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="launch-scratch-"))
    yield place
    remove_tree(place)


@pytest.fixture
def shared(disk: Path) -> Iterator[Path]:
    """A directory of a file system that overlayfs takes no upper directory from and that can't be id-mapped."""
    for name in ("lower", "u", "w", "shared"):
        (disk / name).mkdir()
    tree = mounts.new_mount("overlay", {"lowerdir": f"{disk}/lower", "upperdir": f"{disk}/u", "workdir": f"{disk}/w"})
    place = os.open(disk / "shared", os.O_PATH | os.O_DIRECTORY)
    mounts.attach(tree, place)
    os.close(place)
    os.close(tree)
    yield disk / "shared"
    libc.umount(disk / "shared", 0)


@pytest.fixture
def small(disk: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    (disk / "small").mkdir()
    tree = mounts.new_mount("tmpfs", {"size": "1m"})
    place = os.open(disk / "small", os.O_PATH | os.O_DIRECTORY)
    mounts.attach(tree, place)
    os.close(place)
    os.close(tree)
    yield disk / "small"
    libc.umount(disk / "small", 0)


def test_a_disk_carries_a_writable_layer_and_another_overlay_does_not(disk: Path, shared: Path) -> None:
    assert why_no_writable_layer(disk) is None
    assert f"`{shared}` lies on overlay, which can't show other owners (id-mapped mounts)" == why_no_writable_layer(shared)
    assert [] == list(shared.iterdir())


def test_what_a_container_made_on_scratch_becomes_the_same_layer_of_a_shared_store(
    disk: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(disk))
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    made = []
    for home in (disk / "home", shared / "home"):
        store = Store(home).ensure()
        with store.container_staging() as staging:
            root = staging / "root"
            (root / "etc").mkdir(parents=True)
            (root / "etc/hosts").write_text("127.0.0.1 here\n")
            (root / "etc/hosts").chmod(0o640)
            os.chown(root / "etc/hosts", 7, 8)
            os.link(root / "etc/hosts", root / "etc/same")
            (root / "link").symlink_to("etc/hosts")
            os.mkfifo(root / "pipe")
            made.append((staging.is_relative_to(home), store.publish(digest_bytes(b"key"), root, label="made"), store))
    (here, local, _), (there, distant, store) = made
    assert (True, False) == (here, there)
    assert local.diff_id == distant.diff_id
    layer = store.layer_dir(distant)
    assert damage_of(store.root, distant.diff_id) is None
    assert (layer / "etc/hosts").stat().st_ino == (layer / "etc/same").stat().st_ino
    assert [".gate"] == [path.name for path in (disk / "launch-0").iterdir()]


def image_of(store: Store, *names: str) -> Image:
    layers = []
    for name in names:
        with store.staging() as staging:
            (staging / "root").mkdir()
            (staging / "root" / name).write_bytes(os.urandom(400_000))
            layers.append(store.publish(digest_bytes(name.encode()), staging / "root", label=name))
    return store.put_image(config={}, manifest={"n": names}, layers=layers)


def test_a_node_s_full_disk_gives_up_what_is_unused_and_then_the_shared_store_is_read(disk: Path, small: Path) -> None:
    shared, node = Store(disk / "shared-store").ensure(), node_store(str(small), {})
    copy_layers_here(image_of(shared, "old"), shared, node)
    new = image_of(shared, "new1", "new2")
    here = copy_layers_here(new, shared, node)  # two and a record: the old one has to go
    assert (None, 2) == (here.trouble, here.copied)
    assert {layer.diff_id for layer in new.layers} == set(node.layers())
    more = copy_layers_here(image_of(shared, "more"), shared, node)  # while `here` is in use
    assert "no space left on device" in (more.trouble or "")
    assert all(directory.is_relative_to(shared.root) for directory in more.directories)
    assert [".gate"] == os.listdir(node.root / "tmp")
