"""What is collected, and above all what isn't."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.oci.digest import Digest, digest_bytes
from runtime.store.garbage import CacheEntry, Rules, collect, remove_image
from runtime.store.in_use import pin, unpin
from runtime.store.records import Image
from runtime.store.store import Store
from runtime.store.usage import Thing

DAY_S = 86_400.0


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


def digests(images: list[Image]) -> list[Digest]:
    return [image.digest for image in images]


def used(store: Store, image: Image, days_ago: float) -> None:
    """Let *image* and its layers have been used last so long ago."""
    moment = time.time() - days_ago * DAY_S
    paths = [store.root / "images" / f"{image.digest.hex}.json"]
    paths += [store.root / "layers" / layer.diff_id.hex / "layer.json" for layer in image.layers]
    paths += [path for path in (store.root / "plans").iterdir() if path.read_text() == image.digest]
    for path in paths:
        os.utime(path, (moment, moment))


OLD = Rules(unused_s=DAY_S)


def test_an_image_that_is_not_used_goes_with_layers_that_only_it_had(store: Store) -> None:
    old, kept = image_of(store, "base", "old"), image_of(store, "base", "new")
    gone = collect(store, OLD, keep=[kept.digest], now=in_days(2))
    assert ([old.digest], [old.layers[1].diff_id]) == (digests(gone.images), gone.layers)
    assert gone.freed_bytes >= len("old")
    assert [kept.digest] == digests(store.images())
    assert store.find(old.layers[1].key) is None
    assert 1 == len(os.listdir(store.root / "plans"))
    assert not (store.root / "keys" / old.layers[1].key.hex).exists()


def test_a_dry_run_says_the_same_and_removes_nothing(store: Store) -> None:
    image_of(store, "base", "old")
    said = collect(store, OLD, now=in_days(2), dry_run=True)
    assert 1 == len(store.images())
    done = collect(store, OLD, now=in_days(2))
    assert (digests(said.images), said.layers, said.freed_bytes) == (digests(done.images), done.layers, done.freed_bytes)


def test_recently_used_images_stay(store: Store) -> None:
    image = image_of(store, "a")
    used(store, image, days_ago=9)
    assert store.find_image(digest_bytes(repr(("a",)).encode())) is not None, "a warm launch is a use"
    assert [] == collect(store, OLD).images
    assert [image.digest] == digests(store.images())


def test_named_images_stay_however_old(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    gone = collect(store, OLD, now=in_days(1000))
    assert ([], [image.digest]) == (gone.images, digests(gone.only_named))


def test_a_name_keeps_nothing_when_names_dont_count(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    gone = collect(store, Rules(unused_s=DAY_S, even_named=True), now=in_days(2))
    assert [image.digest] == digests(gone.images)
    assert [] == os.listdir(store.root / "names")


def test_a_pin_keeps_what_a_name_would_not(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    pin(store, image)
    assert [] == collect(store, Rules(unused_s=0, max_bytes=0, even_named=True), now=in_days(9)).images
    assert unpin(store, image)
    assert not unpin(store, image)
    assert [image.digest] == digests(collect(store, Rules(unused_s=0, even_named=True), now=in_days(9)).images)


def test_an_image_that_somebody_holds_stays_with_its_layers(store: Store) -> None:
    image = image_of(store, "a")
    held = store.hold(image)
    assert [] == collect(store, Rules(unused_s=0, max_bytes=0), now=in_days(9)).images
    assert store.find(image.layers[0].key) is not None
    del held
    assert [image.digest] == digests(collect(store, Rules(unused_s=0), now=in_days(9)).images)


def test_an_image_that_is_gone_cannot_be_held(store: Store) -> None:
    image = image_of(store, "a")
    collect(store, Rules(unused_s=0), now=in_days(9))
    assert store.hold(image) is None


def test_a_fresh_layer_whose_image_is_not_there_yet_stays(store: Store) -> None:
    with store.staging() as staging:
        (staging / "root").mkdir()
        store.publish(digest_bytes(b"k"), staging / "root", label="x")
    assert [] == collect(store, OLD).layers
    assert 1 == len(collect(store, OLD, now=in_days(2)).layers)


def test_what_a_build_in_progress_found_stays_and_the_rest_goes(store: Store) -> None:
    found, other = image_of(store, "base", "found"), image_of(store, "other")
    for image in (found, other):
        used(store, image, days_ago=9)
    with store.building():
        assert store.find(found.layers[0].key) is not None
        gone = collect(store, OLD)
        assert {found.layers[1].diff_id, other.layers[0].diff_id} == set(gone.layers)
        assert store.find(found.layers[0].key) is not None
    assert [found.layers[0].diff_id] == collect(store, OLD, now=in_days(2)).layers


def test_what_a_build_in_progress_made_stays_even_if_the_budget_is_exceeded(store: Store) -> None:
    with store.building():
        image = image_of(store, "a")
        gone = collect(store, Rules(unused_s=0, max_bytes=0), now=in_days(9))
        assert ([], []) == (gone.images, gone.layers)
        assert gone.over_bytes > 0
    assert [image.digest] == digests(collect(store, Rules(unused_s=0), now=in_days(9)).images)


def test_a_budget_takes_what_was_not_used_for_longest_and_no_more(store: Store) -> None:
    images = [image_of(store, "base", name) for name in ("a", "b", "c")]
    for image, days in zip(images, (1, 3, 2), strict=True):
        used(store, image, days_ago=days)
    sizes = {layer.diff_id: layer.size_bytes for image in images for layer in image.layers}
    total, one = sum(sizes.values()), images[1].layers[1].size_bytes
    assert [] == collect(store, Rules(max_bytes=total)).images
    gone = collect(store, Rules(max_bytes=total - one))
    assert ([images[1].digest], one, total - one) == (digests(gone.images), gone.freed_bytes, gone.left_bytes)
    assert 0 == gone.over_bytes
    assert {images[0].digest, images[2].digest} == set(digests(store.images()))


def test_a_budget_that_names_stand_against_says_by_how_much_and_which(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    gone = collect(store, Rules(max_bytes=0))
    assert (image.layers[0].size_bytes, [image.digest]) == (gone.over_bytes, digests(gone.only_named))


def test_caches_count_and_go_by_age_as_everything_else(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.write_text("x" * 100)
    entries = [CacheEntry(old, Thing(100, 1.0)), CacheEntry(new, Thing(100, time.time()))]
    gone = collect(store, Rules(max_bytes=150), caches=entries)
    assert ([entries[0]], 100) == (gone.caches, gone.left_bytes)
    assert (False, True) == (old.exists(), new.exists())


def test_the_lock_file_of_a_killed_builder_goes_and_a_held_one_stays(store: Store) -> None:
    (store.root / "locks" / digest_bytes(b"k").hex).touch()
    with store.lock([digest_bytes(b"held")]):
        collect(store, OLD)
        assert [digest_bytes(b"held").hex] == os.listdir(store.root / "locks")


def test_a_blob_that_was_read_is_in_use(store: Store) -> None:
    read, unread = store.put_blob([b"deb"])[0], store.put_blob([b"other"])[0]
    for digest in (read, unread):
        os.utime(store.blob_path(digest), (0, 0))
    store.open_blob(read).close()
    assert [] == collect(store, Rules(unused_s=DAY_S, blobs=False)).blobs
    assert [unread] == collect(store, OLD).blobs
    assert store.has_blob(read)


def test_blobs_of_an_image_that_stays_stay(store: Store) -> None:
    config = store.put_blob([b"{}"])[0]
    os.utime(store.blob_path(config), (0, 0))
    store.put_image(config={}, manifest={"config": {"digest": config}, "layers": []}, layers=(), names=("x",))
    assert [] == collect(store, OLD, now=in_days(9)).blobs


def test_a_removed_image_is_gone_with_its_names(store: Store) -> None:
    image = image_of(store, "a", names=("lab/a",))
    pin(store, image)
    remove_image(store, image)
    assert [] == store.images()
    assert [] == os.listdir(store.root / "pins")
    with pytest.raises(StoreError):
        store.image("lab/a")


def test_a_damaged_record_of_an_image_stops_nothing(store: Store) -> None:
    image = image_of(store, "a")
    (store.root / "images" / f"{image.digest.hex}.json").write_text('{"layers": 7}')
    assert [image.layers[0].diff_id] == collect(store, OLD, now=in_days(2)).layers
