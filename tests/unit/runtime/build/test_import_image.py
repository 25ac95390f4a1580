"""An imported image is what it was: its ID, its layers' digests, its names. And the store notices when it no longer is."""

from __future__ import annotations

import gzip
import json
import os
import re
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from saved_images import config_of, digest, tar_of, write_layout, write_saved

from runtime.build.builder import build
from runtime.build.images.image_source import inspect_image
from runtime.build.images.import_image import import_image
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage
from runtime.errors import BadContent, StoreError
from runtime.layer.archive import tar_chunks
from runtime.layer.extract import extract
from runtime.oci.digest import canonical_json
from runtime.store.image_blobs import config_bytes, layer_chunks, manifest_layer_chunks
from runtime.store.layer_on_disk import damage_of
from runtime.store.records import Image
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

LAYERS = [tar_of({"bin/sh": b"shell", "etc/os": b"one"}), tar_of({"etc/os": b"two", "etc/.wh.old": b""})]


def imported(reference: str, store: Store, *names: str) -> Image:
    return import_image(reference, store, observer=NullObserver(), architecture="amd64", names=names)


def test_layers_keep_the_digests_that_they_came_with(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store)
    assert [digest(layer) for layer in LAYERS] == [layer.diff_id for layer in image.layers]
    assert [len(layer) for layer in LAYERS] == [layer.size_bytes for layer in image.layers]
    for which, stream in enumerate(LAYERS):
        assert stream == b"".join(layer_chunks(store, image.layers[which]))
        assert stream == b"".join(manifest_layer_chunks(store, image, which))


def test_the_configuration_stays_byte_for_byte_so_dockers_id_does(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store)
    original = config_of(LAYERS)
    assert original != canonical_json(json.loads(original)), "or this would test nothing"
    assert original == config_bytes(store, image)
    assert digest(original) == image.manifest["config"]["digest"]


def test_the_same_image_from_elsewhere_is_the_same_image(store: Store, tmp_path: Path) -> None:
    """Packed or not, from a layout or from `docker save`: nothing that an image in the store knows."""
    write_layout(tmp_path / "a", LAYERS)
    write_layout(tmp_path / "b", LAYERS, pack=bytes)
    write_saved(tmp_path / "c.tar", LAYERS)
    references = (f"oci:{tmp_path}/a", f"oci:{tmp_path}/b", f"docker-archive:{tmp_path}/c.tar")
    assert 1 == len({imported(reference, store).digest for reference in references})
    assert 2 == len(store.layers())


def test_it_is_found_under_its_names(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store, "lab/x:1", "y")
    for name in ("lab/x:1", "docker.io/lab/x:1", "y", "y:latest", image.digest.short):
        assert image.digest == store.image(name).digest
    with pytest.raises(StoreError, match="no image"):
        store.image("lab/x:2")


def test_an_image_without_layers_is_refused(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", [])
    with pytest.raises(BadContent, match="has no layers"):
        imported(f"oci:{tmp_path}/image", store)


def test_a_build_on_an_imported_image_needs_it_no_more(store: Store, tmp_path: Path) -> None:
    reference = f"oci:{tmp_path}/image"
    write_layout(tmp_path / "image", LAYERS)
    step = ImportImage(reference, inspect_image(reference).manifest_digest)
    image = imported(reference, store)
    (tmp_path / "image" / "index.json").unlink()
    assert image.layers == build(BuildPlan((step,), ImageConfig()), store).image.layers


def test_an_image_in_an_oci_archive_is_a_base_too(store: Store, tmp_path: Path) -> None:
    manifest = write_layout(tmp_path / "image", LAYERS)
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "image", ".")
    (tmp_path / "image.tar.gz").write_bytes(gzip.compress((tmp_path / "image.tar").read_bytes()))
    for file in ("image.tar", "image.tar.gz"):
        assert manifest == inspect_image(f"oci-archive:{tmp_path}/{file}:v1").manifest_digest
        assert manifest == inspect_image(f"oci-archive:{tmp_path}/{file}").manifest_digest
        assert [digest(layer) for layer in LAYERS] == [
            layer.diff_id for layer in imported(f"oci-archive:{tmp_path}/{file}", store).layers
        ]


def test_an_imported_image_is_exported_as_it_came(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store)
    export_oci_layout(image, store, tmp_path / "out")
    blobs = tmp_path / "out" / "blobs" / "sha256"
    assert {*map(digest, LAYERS), digest(config_of(LAYERS)), image.digest} == {f"sha256:{name}" for name in os.listdir(blobs)}


def test_a_lost_configuration_is_an_error_and_no_other_image(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store)
    for attachment in (store.root / "attachments").iterdir():
        attachment.unlink()
    with pytest.raises(StoreError, match=r"configuration of image .* is damaged"):
        config_bytes(store, image)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _retarget(link: Path) -> None:
    link.unlink()
    link.symlink_to("bash")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param(lambda layer: _flip(layer / "root/bin/tool"), "content has digest", id="a flipped bit in a file"),
        pytest.param(
            lambda layer: _flip(layer / "stream"), "record of a tar stream|content has", id="a flipped bit in the record"
        ),
        pytest.param(lambda layer: (layer / "stream").unlink(), "content has digest", id="no record any more"),
        pytest.param(lambda layer: _append(layer / "tree.jsonl"), "manifest has changed|layer manifest", id="another manifest"),
        pytest.param(lambda layer: _append(layer / "root/bin/tool"), "doesn't have the", id="a longer file"),
        pytest.param(lambda layer: (layer / "root/bin/more").touch(), "`bin/more` is there", id="a file more"),
        pytest.param(lambda layer: (layer / "root/bin/empty").unlink(), "`bin/empty` is missing", id="an empty file less"),
        pytest.param(lambda layer: (layer / "root/bin/tool").chmod(0o777), "has mode 777", id="another mode"),
        pytest.param(lambda layer: _retarget(layer / "root/bin/sh"), "another target", id="another link"),
    ],
)
def test_a_check_finds_what_changed_in_an_imported_layer(
    store: Store, tmp_path: Path, damage: Callable[[Path], Any], complaint: str
) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in (("bin/tool", b"#!"), ("bin/empty", b"")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, BytesIO(content))
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "dash"
        archive.addfile(link)
    write_layout(tmp_path / "image", [buffer.getvalue()])
    layer = imported(f"oci:{tmp_path}/image", store).layers[0]
    assert damage_of(store.root, layer.diff_id) is None

    damage(store.root / "layers" / layer.diff_id.hex)

    found = damage_of(store.root, layer.diff_id)
    assert found is not None
    assert re.search(complaint, found), found


def test_a_layer_that_is_unpacked_and_archived_again_keeps_its_meaning(store: Store, tmp_path: Path) -> None:
    """Through an export and another store, and through our own form of the tree: the manifest is the same each time."""
    write_layout(tmp_path / "image", LAYERS)
    image = imported(f"oci:{tmp_path}/image", store)
    export_oci_layout(image, store, tmp_path / "out")
    other = Store(tmp_path / "other")
    again = imported(f"oci:{tmp_path}/out", other)
    assert image.digest == again.digest
    for number, layer in enumerate(image.layers):
        assert store.tree_of(layer) == other.tree_of(layer)
        (tmp_path / str(number)).mkdir()
        own_form = b"".join(tar_chunks(store.tree_of(layer), store.layer_dir(layer)))
        assert store.tree_of(layer) == extract(BytesIO(own_form), tmp_path / str(number))


def test_a_failed_layer_stops_the_others_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", [*LAYERS, tar_of({"../evil": b""})])
    with pytest.raises(BadContent, match=r"^layer 3 of `oci.*`: .* has `\.\.` in its name"):
        imported(f"oci:{tmp_path}/image", store)
    assert [] == [name for name in os.listdir(store.root / "tmp") if not name.startswith(".")]
    assert [] == store.images()
