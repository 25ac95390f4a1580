"""What is collected, and above all what isn't."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.oci.digest import digest_bytes
from runtime.store.garbage import collect, remove_image
from runtime.store.records import Image
from runtime.store.store import Store

DAY_S = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").ensure()


def image_of(store: Store, *layers: str, names: tuple[str, ...] = ()) -> Image:
    published = []
    for name in layers:
        with store.staging() as staging:
            (staging / "root").mkdir()
            (staging / "root" / name).write_text(name)
            published.append(store.publish(digest_bytes(name.encode()), staging / "root", label=name))
    plan = digest_bytes(repr(layers).encode())
    return store.put_image(config={}, manifest={"layers": [], "n": layers}, layers=published, names=names, plan_key=plan)


def in_days(days: float) -> float:
    return time.time() + days * DAY_S


def test_an_image_that_is_not_used_goes_with_layers_that_only_it_had(store: Store) -> None:
    old, kept = image_of(store, "base", "old"), image_of(store, "base", "new")
    found = collect(store, unused_s=DAY_S, keep=[kept.digest], now=in_days(2))
    assert ((old.digest,), (old.layers[1].diff_id,)) == (found.images, found.layers)
    assert found.freed_bytes >= len("old")
    assert [kept.digest] == [image.digest for image in store.images()]
    assert store.find(old.layers[1].key) is None
    assert 1 == len(os.listdir(store.root / "plans"))


def test_recently_used_images_stay(store: Store) -> None:
    image = image_of(store, "a")
    for directory in ("images", "plans"):
        for path in (store.root / directory).iterdir():
            os.utime(path, (0, 0))
    assert store.find_image(digest_bytes(repr(("a",)).encode())) is not None, "a warm launch is a use"
    assert () == collect(store, unused_s=DAY_S).images
    assert [image.digest] == [one.digest for one in store.images()]


def test_named_images_stay_however_old(store: Store) -> None:
    image_of(store, "a", names=("lab/a",))
    assert () == collect(store, unused_s=DAY_S, now=in_days(1000)).images


def test_a_fresh_layer_whose_image_is_not_there_yet_stays(store: Store) -> None:
    with store.staging() as staging:
        (staging / "root").mkdir()
        store.publish(digest_bytes(b"k"), staging / "root", label="x")
    assert () == collect(store, unused_s=DAY_S).layers
    assert 1 == len(collect(store, unused_s=DAY_S, now=in_days(2)).layers)


def test_nothing_is_collected_while_something_is_built(store: Store) -> None:
    with store.building(), pytest.raises(StoreError, match="being built"):
        collect(store, unused_s=0)


def test_the_lock_file_of_a_killed_builder_goes(store: Store) -> None:
    (store.root / "locks" / digest_bytes(b"k").hex).touch()
    collect(store, unused_s=DAY_S)
    assert [] == os.listdir(store.root / "locks")


def test_blobs_go_only_when_asked_for(store: Store) -> None:
    store.put_blob([b"deb"])
    assert 0 == collect(store, unused_s=0, now=in_days(2)).blobs
    assert 1 == collect(store, unused_s=0, blobs_unused_s=DAY_S, now=in_days(2)).blobs


def test_a_removed_image_is_gone_with_its_names(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    remove_image(store, image)
    assert [] == store.images()
    with pytest.raises(StoreError):
        store.image("lab/a")
