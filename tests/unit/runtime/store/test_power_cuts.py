"""After a power cut a layer is read once before it is trusted again."""

from __future__ import annotations

import os

import pytest

from runtime.errors import NoSuchImage
from runtime.oci.digest import Digest, digest_bytes
from runtime.store.check import check
from runtime.store.store import Layer, Store

KEY, PLAN = digest_bytes(b"key"), digest_bytes(b"plan")


@pytest.fixture
def layer(store: Store) -> Layer:
    with store.staging() as staging:
        (staging / "root").mkdir()
        (staging / "root" / "f").write_bytes(b"content")
        layer = store.publish(KEY, staging / "root", label="x")
    store.put_image(config={}, manifest={"layers": []}, layers=[layer], plan_key=PLAN)
    return layer


def reboot(store: Store) -> None:
    """As after a power cut: the marks are of another boot."""
    for name in os.listdir(store.root / "unsynced"):
        (store.root / "unsynced" / name).write_text("00000000-an-earlier-boot")


def test_in_the_boot_that_wrote_it_a_layer_is_trusted(store: Store, layer: Layer) -> None:
    assert [layer.diff_id.hex] == os.listdir(store.root / "unsynced")
    assert layer == store.find(KEY)
    assert store.find_image(PLAN) is not None


def test_after_a_reboot_a_whole_layer_is_checked_and_trusted(store: Store, layer: Layer) -> None:
    reboot(store)
    assert store.find_image(PLAN) is None, "the steps have to be looked at"
    assert layer == store.find(KEY)
    assert [] == os.listdir(store.root / "unsynced")
    assert store.find_image(PLAN) is not None


@pytest.mark.parametrize("left", [b"", b"conten", b"CONTENT"], ids=["empty", "short", "other"])
def test_after_a_reboot_a_torn_layer_is_built_again(store: Store, layer: Layer, left: bytes) -> None:
    (store.layer_dir(layer) / "f").write_bytes(left)
    reboot(store)
    assert store.find(KEY) is None
    assert [] == store.layers()


def test_a_torn_manifest_is_a_torn_layer(store: Store, layer: Layer) -> None:
    (store.root / "layers" / layer.diff_id.hex / "tree.jsonl").write_bytes(b"")
    reboot(store)
    assert store.find(KEY) is None


def test_a_confirmed_layer_needs_no_check(store: Store, layer: Layer) -> None:
    assert [1, 0] == [store.confirm(), store.confirm()]
    reboot(store)
    assert store.find_image(PLAN) is not None


def test_a_check_names_what_was_changed(store: Store, layer: Layer) -> None:
    assert [] == check(store)
    (store.layer_dir(layer) / "f").write_bytes(b"changed")
    (damage,) = check(store)
    assert (layer.diff_id, True) == (Digest(damage.digest), "sha256" in damage.what)


def test_a_record_that_a_power_cut_left_empty_is_none(store: Store, layer: Layer) -> None:
    image = store.find_image(PLAN)
    assert image is not None
    store.name_image(image, "named")
    store.attach(image, "recipe", b"{}")
    for directory in ("keys", "plans", "attachments", "names", "images"):
        for file in (store.root / directory).iterdir():
            file.write_bytes(b"")
    assert (None, None) == (store.find(KEY), store.find_image(PLAN))
    assert (None, False) == (store.attached(image, "recipe"), store.is_attached(image, "recipe"))
    assert [] == store.images()
    with pytest.raises(NoSuchImage):
        store.image("named")
    store.remember_key(KEY, layer)
    assert (
        image.digest == store.put_image(config={}, manifest={"layers": []}, layers=[layer], plan_key=PLAN, names=["named"]).digest
    )
    assert (layer, "named") == (store.find(KEY), store.image("named").names[0])
