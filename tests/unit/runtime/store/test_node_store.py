"""Layers of a shared store, copied to a node's own disk: once, whole, within a budget, and never at the price of a run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.oci.digest import digest_bytes
from runtime.store.layer_on_disk import damage_of
from runtime.store.node_store import copy_layers_here, node_store
from runtime.store.records import Image
from runtime.store.store import Store

BYTES = 100_000


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    return Store(tmp_path / "shared").ensure()


@pytest.fixture
def node(tmp_path: Path) -> Store:
    return node_store("$DISK/cache", {"DISK": str(tmp_path)})


def image_of(store: Store, *names: str) -> Image:
    layers = []
    for name in names:
        with store.staging() as staging:
            root = staging / "root"
            (root / "bin").mkdir(parents=True)
            (root / "bin" / name).write_bytes(name.encode() * (BYTES // len(name)))
            (root / "bin" / name).chmod(0o751)
            os.link(root / "bin" / name, root / "same")
            (root / "link").symlink_to(f"bin/{name}")
            layers.append(store.publish(digest_bytes(name.encode()), root, label=name))
    return store.put_image(config={}, manifest={"layers": [], "n": names}, layers=layers)


def is_of(store: Store, directory: Path) -> bool:
    return directory.is_relative_to(store.root)


def test_layers_are_copied_once_and_are_what_their_names_say(shared: Store, node: Store) -> None:
    image = image_of(shared, "base", "code")
    told: list[str] = []
    first = copy_layers_here(image, shared, node, tell=told.append)
    again = copy_layers_here(image, shared, node, tell=told.append)
    assert (2, 0) == (first.copied, again.copied)
    assert first.directories == again.directories == tuple(map(node.layer_dir, image.layers))
    assert [None, None] == [damage_of(node.root, layer.diff_id) for layer in image.layers]
    assert 1 == len(told)
    assert "copying 2 of 2 layers" in told[0]
    assert first.directories[0].joinpath("bin/base").stat().st_ino == first.directories[0].joinpath("same").stat().st_ino


def test_only_what_is_missing_is_copied(shared: Store, node: Store) -> None:
    copy_layers_here(image_of(shared, "base", "old"), shared, node)
    assert 1 == copy_layers_here(image_of(shared, "base", "new"), shared, node).copied


def test_two_jobs_at_once_copy_a_layer_once(shared: Store, node: Store) -> None:
    image = image_of(shared, *(f"layer{number}" for number in range(8)))
    copied: list[int] = []
    jobs = [threading.Thread(target=lambda: copied.append(copy_layers_here(image, shared, node).copied)) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert all(damage_of(node.root, layer.diff_id) is None for layer in image.layers)
    assert ([], []) == (os.listdir(node.root / "locks"), [name for name in os.listdir(node.root / "tmp") if name != ".gate"])


def test_what_was_not_used_for_longest_makes_room(shared: Store, node: Store) -> None:
    oldest, older, new = (image_of(shared, name) for name in ("oldest", "older", "new"))
    for days_ago, image in ((3, oldest), (2, older)):
        copy_layers_here(image, shared, node)
        moment = time.time() - days_ago * 86_400
        for path in (node.root / "images" / f"{image.digest.hex}.json", node.layer_dir(image.layers[0]).with_name("layer.json")):
            os.utime(path, (moment, moment))
    here = copy_layers_here(new, shared, node, max_bytes=int(2.5 * BYTES))
    assert here.trouble is None
    assert is_of(node, here.directories[0])
    assert {older.layers[0].diff_id, new.layers[0].diff_id} == set(node.layers())


def test_layers_that_a_run_uses_make_no_room_and_the_others_are_read_from_the_shared_store(shared: Store, node: Store) -> None:
    used = copy_layers_here(image_of(shared, "used"), shared, node)
    here = copy_layers_here(image_of(shared, "more"), shared, node, max_bytes=int(1.5 * BYTES))
    assert is_of(shared, here.directories[0])
    assert "0 in use" not in (here.trouble or "")
    assert "`cluster.node_store_size`" in (here.trouble or "")
    assert used.directories[0].is_dir()
    del used  # its run has ended
    assert copy_layers_here(image_of(shared, "more"), shared, node, max_bytes=int(1.5 * BYTES)).trouble is None


def test_an_image_that_can_never_fit_drives_nothing_out(shared: Store, node: Store) -> None:
    small = image_of(shared, "small")
    copy_layers_here(small, shared, node)
    here = copy_layers_here(image_of(shared, "big"), shared, node, max_bytes=1000)
    assert [small.layers[0].diff_id] == node.layers()
    assert is_of(shared, here.directories[0])
    assert here.trouble is not None


def test_a_place_that_cannot_be_written_costs_the_copy_and_not_the_run(shared: Store, node: Store) -> None:
    (node.root / "layers").touch()
    here = copy_layers_here(image_of(shared, "base"), shared, node)
    assert is_of(shared, here.directories[0])
    assert f"layers cannot be copied to `{node.root}`" in (here.trouble or "")


def test_a_layer_that_a_power_cut_left_torn_is_copied_again(shared: Store, node: Store) -> None:
    image = image_of(shared, "base")
    copy_layers_here(image, shared, node)
    torn = node.layer_dir(image.layers[0]) / "bin" / "base"
    torn.chmod(0o600)
    torn.write_bytes(b"\0" * 10)
    (node.root / "unsynced" / image.layers[0].diff_id.hex).write_text("an earlier boot")
    here = copy_layers_here(image, shared, node)
    assert 1 == here.copied
    assert damage_of(node.root, image.layers[0].diff_id) is None


def test_a_stop_is_heard_between_two_layers(shared: Store, node: Store) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        copy_layers_here(image_of(shared, "base"), shared, node, go_on=stop)


def test_a_relative_place_is_refused() -> None:
    with pytest.raises(StoreError, match="no absolute path"):
        node_store("cache", {})
