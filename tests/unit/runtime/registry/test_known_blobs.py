"""What was once seen of a layer in a registry is known afterwards, and what is no longer there is forgotten."""

from __future__ import annotations

from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import LAYER, Descriptor
from runtime.registry.known_places import forget_place, known_blobs, remember_blob
from runtime.store.garbage import Rules, collect
from runtime.store.store import Store

LAYER_ID = digest_bytes(b"layer")
PACKED = Descriptor(f"{LAYER}+gzip", digest_bytes(b"packed"), 6)
PACKED_OTHERWISE = Descriptor(f"{LAYER}+zstd", digest_bytes(b"packed otherwise"), 16)


def _places(store: Store, layer: Digest = LAYER_ID) -> list[tuple[str, list[str]]]:
    return [
        (blob.descriptor.digest, [f"{place.registry}/{place.repository}" for place in blob.places])
        for blob in known_blobs(store, layer)
    ]


def test_nothing_is_known_of_a_layer_that_was_never_seen(store: Store) -> None:
    assert known_blobs(store, LAYER_ID) == []


def test_a_blob_is_known_with_every_place_the_most_recent_first(store: Store) -> None:
    for registry, repository in (("one:5000", "a"), ("one:5000", "b"), ("two", "a"), ("one:5000", "a")):
        remember_blob(store, LAYER_ID, PACKED, registry=registry, repository=repository)
    assert _places(store) == [(PACKED.digest, ["one:5000/a", "two/a", "one:5000/b"])]
    assert known_blobs(store, LAYER_ID)[0].descriptor == PACKED


def test_the_form_that_was_seen_last_comes_first(store: Store) -> None:
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    remember_blob(store, LAYER_ID, PACKED_OTHERWISE, registry="one", repository="a")
    assert [blob.descriptor for blob in known_blobs(store, LAYER_ID)] == [PACKED_OTHERWISE, PACKED]


def test_a_place_that_lost_the_blob_is_forgotten_but_not_what_the_blob_is(store: Store) -> None:
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="b")
    forget_place(store, LAYER_ID, PACKED.digest, registry="one", repository="b")
    assert _places(store) == [(PACKED.digest, ["one/a"])]
    forget_place(store, LAYER_ID, PACKED.digest, registry="one", repository="a")
    assert known_blobs(store, LAYER_ID)[0].places == ()
    assert known_blobs(store, LAYER_ID)[0].descriptor == PACKED


def test_what_is_remembered_is_bounded(store: Store) -> None:
    for count in range(100):
        remember_blob(store, LAYER_ID, PACKED, registry="one", repository=f"r{count}")
    for count in range(20):
        other = Descriptor(PACKED.media_type, digest_bytes(b"%d" % count), count)
        remember_blob(store, LAYER_ID, other, registry="one", repository="a")
    assert len(known_blobs(store, LAYER_ID)) == 8
    assert max(len(blob.places) for blob in known_blobs(store, LAYER_ID)) <= 32


def test_a_blob_stays_known_when_the_layer_is_collected(store: Store) -> None:
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    collect(store, Rules(unused_s=0))
    assert _places(store) == [(PACKED.digest, ["one/a"])]


def test_seeing_it_again_writes_nothing(store: Store) -> None:
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    [record] = (store.root / "keys").iterdir()
    before = record.stat().st_mtime_ns
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    assert record.stat().st_mtime_ns == before


def test_a_record_that_makes_no_sense_is_as_good_as_none(store: Store) -> None:
    remember_blob(store, LAYER_ID, PACKED, registry="one", repository="a")
    [record] = (store.root / "keys").iterdir()
    record.write_text('{"blobs": [{"digest": "sha256:../../etc/passwd", "mediaType": "x", "size": 1, "places": []}]}')
    assert known_blobs(store, LAYER_ID) == []
