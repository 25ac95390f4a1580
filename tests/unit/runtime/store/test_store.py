"""The store: found again, told apart, and never half there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.errors import BadContent, StoreError
from runtime.layer.tree import LAYER_MTIME_S, Tree, TreeEntry
from runtime.oci.digest import Digest, digest_bytes
from runtime.store.store import Layer, Store


def publish(store: Store, name: str, content: bytes = b"x", *, mode: int = 0o644, tree: Tree | None = None) -> Layer:
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir(mode=0o700)
        (root / "f").write_bytes(content)
        (root / "f").chmod(mode)
        return store.publish(digest_bytes(name.encode()), root, tree, label=name)


def test_a_published_layer_is_found_by_its_key(store: Store) -> None:
    layer = publish(store, "a")
    assert layer == store.find(digest_bytes(b"a"))
    assert store.find(digest_bytes(b"b")) is None
    assert b"x" == (store.layer_dir(layer) / "f").read_bytes()


def test_the_same_content_under_two_keys_is_one_layer(store: Store) -> None:
    first, second = publish(store, "a"), publish(store, "b")
    assert first.diff_id == second.diff_id
    assert [first.diff_id] == store.layers()
    assert [] == [name for name in os.listdir(store.root / "tmp") if not name.startswith(".")]


def test_mtime_umask_and_order_of_creation_do_not_show(store: Store, tmp_path: Path) -> None:
    digests = set()
    for number, order in enumerate((["a", "b"], ["b", "a"])):
        with store.staging() as staging:
            root = staging / "root"
            root.mkdir(mode=0o700 if number else 0o755)
            for name in order:
                (root / name).write_text(name)
                os.utime(root / name, (number, number))
            digests.add(store.publish(digest_bytes(bytes([number])), root, label="x").diff_id)
    assert 1 == len(digests)


def test_the_directory_takes_the_form_of_the_manifest(store: Store) -> None:
    layer = publish(store, "a", tree=Tree.of([TreeEntry("f", "file", 0o750, size=1)]), mode=0o600)
    found = (store.layer_dir(layer) / "f").stat()
    assert (0o750, LAYER_MTIME_S) == (stat.S_IMODE(found.st_mode), int(found.st_mtime))
    assert 0o755 == stat.S_IMODE(store.layer_dir(layer).stat().st_mode)


def test_owners_are_part_of_the_digest_whoever_builds(store: Store) -> None:
    root_owned = publish(store, "a", tree=Tree.of([TreeEntry("f", "file", 0o644, size=1)]))
    daemon_owned = publish(store, "b", tree=Tree.of([TreeEntry("f", "file", 0o644, 1, 1, size=1)]))
    assert root_owned.diff_id != daemon_owned.diff_id
    assert (1, 1) == (store.tree_of(daemon_owned).entries[0].uid, store.tree_of(daemon_owned).entries[0].gid)


def test_a_manifest_that_does_not_fit_the_directory_publishes_nothing(store: Store) -> None:
    with pytest.raises(StoreError):
        publish(store, "a", tree=Tree.of([TreeEntry("f", "file", size=5)]))
    assert ([], None) == (store.layers(), store.find(digest_bytes(b"a")))


def test_inputs_behind_a_key_are_kept_for_explaining(store: Store) -> None:
    layer = publish(store, "a")
    store.remember_key(digest_bytes(b"k"), layer, fields={"kind": "x"})
    assert {"kind": "x"} == store.key_fields(digest_bytes(b"k"))


def test_a_torn_key_file_means_build_again(store: Store) -> None:
    """What a power cut may leave."""
    publish(store, "a")
    (store.root / "keys" / digest_bytes(b"a").hex).write_bytes(b"")
    assert store.find(digest_bytes(b"a")) is None


def test_a_key_whose_layer_was_removed_means_build_again(store: Store) -> None:
    layer = publish(store, "a")
    os.rename(store.root / "layers" / layer.diff_id.hex, store.root / "tmp" / "gone")
    assert store.find(digest_bytes(b"a")) is None


def test_a_blob_is_stored_once_and_checked(store: Store) -> None:
    digest, size = store.put_blob([b"ab", b"c"])
    assert (digest_bytes(b"abc"), 3) == (digest, size)
    assert store.has_blob(digest)
    with store.open_blob(digest) as file:
        assert b"abc" == file.read()
    with pytest.raises(BadContent, match="not"):
        store.put_blob([b"other"], expected=digest)
    assert [digest.hex] == os.listdir(store.root / "blobs" / "sha256")


def test_a_missing_blob_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match="sha256:0000"):
        store.open_blob(Digest("sha256:" + "0" * 64))


def put_image(store: Store, name: str, **more: object) -> Digest:
    layer = publish(store, name, name.encode())
    return store.put_image(config={"n": name}, manifest={"layers": [], "n": name}, layers=[layer], **more).digest  # type: ignore[arg-type]


def test_an_image_is_found_by_its_plan(store: Store) -> None:
    digest = put_image(store, "a", plan_key=digest_bytes(b"plan"))
    found = store.find_image(digest_bytes(b"plan"))
    assert found is not None
    assert (digest, {"n": "a"}, 1) == (found.digest, found.config, len(found.layers))


def test_an_image_with_a_missing_layer_is_not_found(store: Store) -> None:
    put_image(store, "a", plan_key=digest_bytes(b"plan"))
    os.rename(store.root / "layers" / store.layers()[0].hex, store.root / "tmp" / "gone")
    assert store.find_image(digest_bytes(b"plan")) is None


def test_an_image_is_named_by_name_or_digest_prefix(store: Store) -> None:
    first, second = put_image(store, "a", names=["lab/digits:1"]), put_image(store, "b")
    assert first == store.image("lab/digits:1").digest
    assert second == store.image(second.hex[:10]).digest
    assert second == store.image(second).digest
    assert ("lab/digits:1",) == store.image(first.short).names


def test_a_digest_that_is_none_reads_no_other_file(store: Store) -> None:
    put_image(store, "a")
    with pytest.raises(BadContent):
        store.image("sha256:" + "../" * 21 + "x")


def test_a_name_moves_to_the_image_that_got_it_last(store: Store) -> None:
    put_image(store, "a", names=["latest"])
    second = put_image(store, "b", names=["latest"])
    assert second == store.image("latest").digest


def test_two_ways_to_write_a_name_are_one_name(store: Store) -> None:
    put_image(store, "a", names=["x", "lab/y:1"])
    second = put_image(store, "b", names=["x:latest"])
    assert store.image("x").digest == store.image("x:latest").digest == second
    assert ("x:latest",) == store.names_by_digest()[second]


def test_an_unknown_or_ambiguous_image_is_an_error_that_says_which(store: Store) -> None:
    for number in range(20):
        put_image(store, str(number))
    with pytest.raises(StoreError, match="no image `zz`"):
        store.image("zz")
    prefix = next(
        letter for letter in "0123456789abcdef" if 1 < sum(image.digest.hex.startswith(letter) for image in store.images())
    )
    with pytest.raises(StoreError, match="fits"):
        store.image(prefix)


@pytest.mark.parametrize("name", ["../../etc/x", "..", ".hidden", "a%2Fb", "/abs"])
def test_a_name_cannot_lead_out_of_the_store(store: Store, name: str) -> None:
    digest = put_image(store, "a", names=[name])
    assert digest == store.image(name).digest
    assert 1 == len(os.listdir(store.root / "names"))


def test_a_store_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store"):
        Store(tmp_path / "file" / "store").ensure()
