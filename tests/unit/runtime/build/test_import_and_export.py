"""Images from outside come in checked, and ours go out in a form that others read."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from saved_images import digest, packed, tar_of, write_layout, write_saved

from runtime.build.builder import build
from runtime.build.image_assembly import MANIFEST_LAYERS, assemble, group_layers
from runtime.build.images.image_source import inspect_image
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, InstallWheel, MakeVenv, Step, env_of
from runtime.build.step_states import explain
from runtime.errors import BadContent, BuildError, StoreError
from runtime.oci.digest import Digest, digest_bytes
from runtime.store.records import Layer
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

LAYERS = [tar_of({"bin/sh": b"shell", "etc/os": b"one"}), tar_of({"etc/os": b"two", "etc/.wh.old": b""})]


def plan_of(reference: str, manifest_digest: str) -> BuildPlan:
    return BuildPlan((ImportImage(reference, Digest(manifest_digest)),), ImageConfig())


@pytest.mark.parametrize("pack", [pytest.param(gzip.compress, id="gzip"), pytest.param(bytes, id="plain")])
def test_an_oci_layout_is_imported_and_not_needed_again(store: Store, tmp_path: Path, pack: Any) -> None:
    plan = plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS, pack=pack))

    image = build(plan, store).image

    assert [["bin", "bin/sh", "etc", "etc/os"], ["etc", "etc/old", "etc/os"]] == [
        [entry.path for entry in store.tree_of(layer)] for layer in image.layers
    ]
    assert b"two" == (store.layer_dir(image.layers[1]) / "etc" / "os").read_bytes()
    assert 1_700_000_000 == int((store.layer_dir(image.layers[1]) / "etc" / "os").stat().st_mtime), "bytecode is bound to it"
    shutil.rmtree(tmp_path / "image")
    assert explain(plan, store)[0].layer == image.layers[1]
    for name in os.listdir(store.root / "plans"):
        (store.root / "plans" / name).unlink()
    assert image.digest == build(plan, store).image.digest


def test_what_docker_save_wrote_is_imported_with_its_shared_layers(store: Store, tmp_path: Path) -> None:
    image_id = write_saved(tmp_path / "saved.tar", [LAYERS[0], LAYERS[0], LAYERS[1]], shared=True)
    reference = f"docker-archive:{tmp_path}/saved.tar:lab/x:1"
    assert image_id == inspect_image(reference).manifest_digest
    image = build(plan_of(reference, image_id), store).image
    assert (3, 2) == (len(image.layers), len(store.layers()))


def test_a_gzipped_docker_archive_is_read(tmp_path: Path) -> None:
    image_id = write_saved(tmp_path / "saved.tar", LAYERS)
    (tmp_path / "saved.tar.gz").write_bytes(gzip.compress((tmp_path / "saved.tar").read_bytes()))
    assert image_id == inspect_image(f"docker-archive:{tmp_path}/saved.tar.gz").manifest_digest


def test_the_environment_of_an_image_is_known_before_it_is_unpacked(tmp_path: Path) -> None:
    write_layout(tmp_path, LAYERS)
    assert {"PATH": "/usr/bin", "EMPTY": ""} == env_of(inspect_image(f"oci:{tmp_path}:v1").execution)


def test_an_image_that_changed_since_it_was_planned_is_refused(store: Store, tmp_path: Path) -> None:
    before = write_layout(tmp_path / "image", LAYERS)
    write_layout(tmp_path / "image", LAYERS[:1])
    with pytest.raises(BuildError, match="has changed"):
        build(plan_of(f"oci:{tmp_path}/image", before), store)


def test_a_swapped_layer_blob_is_refused(store: Store, tmp_path: Path) -> None:
    planned = write_layout(tmp_path / "image", LAYERS)
    blob = tmp_path / "image" / "blobs" / "sha256" / digest(packed(LAYERS[0]))[7:]
    assert blob.exists()
    blob.write_bytes(gzip.compress(tar_of({"bin/sh": b"evil"})))
    with pytest.raises(BadContent, match="layer blob"):
        build(plan_of(f"oci:{tmp_path}/image", planned), store)
    assert [name for name in os.listdir(store.root / "tmp") if not name.startswith(".")] == []


def test_a_swapped_layer_of_docker_save_is_refused(store: Store, tmp_path: Path) -> None:
    image_id = write_saved(tmp_path / "saved.tar", LAYERS)
    content = (tmp_path / "saved.tar").read_bytes().replace(b"shell", b"evil!")
    (tmp_path / "saved.tar").write_bytes(content)
    with pytest.raises(BadContent, match="but the image says"):
        build(plan_of(f"docker-archive:{tmp_path}/saved.tar", image_id), store)


def test_a_swapped_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write_layout(tmp_path, LAYERS)
    path = tmp_path / "blobs" / "sha256" / manifest[7:]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadContent, match="doesn't have that digest"):
        inspect_image(f"oci:{tmp_path}")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"schemaVersion": 1}, "schemaVersion", id="old"),
        pytest.param({"manifests": []}, "not an image manifest", id="index and manifest at once (CVE-2021-41190)"),
        pytest.param({"layers": []}, "0 layers and its configuration 2", id="fewer layers than diff_ids"),
        pytest.param({"layers": {}}, r"`image manifest\.layers` is not a list", id="layers of another type"),
    ],
)
def test_a_malformed_manifest_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    write_layout(tmp_path, LAYERS, change=lambda manifest: manifest.update(change))
    with pytest.raises(BadContent, match=complaint):
        inspect_image(f"oci:{tmp_path}")


def test_a_missing_image_or_tag_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot read image"):
        inspect_image(f"oci:{tmp_path}/nothing")
    write_layout(tmp_path, LAYERS)
    with pytest.raises(BuildError, match="no image"):
        inspect_image(f"oci:{tmp_path}:v2")


def test_an_exported_image_comes_back_the_same(store: Store, tmp_path: Path) -> None:
    image = build(plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS)), store).image

    assert image.digest == export_oci_layout(image, store, tmp_path / "out", tag="a")
    assert image.digest == inspect_image(f"oci:{tmp_path}/out:a").manifest_digest
    other = Store(tmp_path / "other")
    again = build(plan_of(f"oci:{tmp_path}/out:a", image.digest), other).image
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in again.layers]


def test_two_tags_share_a_layout(store: Store, tmp_path: Path) -> None:
    image = build(plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS)), store).image
    for tag in ("a", "b", "a"):
        export_oci_layout(image, store, tmp_path / "out", tag=tag)
    listed = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    assert ["b", "a"] == [item["annotations"]["org.opencontainers.image.ref.name"] for item in listed]


def test_a_damaged_layer_is_not_exported(store: Store, tmp_path: Path) -> None:
    image = build(plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS)), store).image
    (store.layer_dir(image.layers[0]) / "bin" / "sh").write_bytes(b"SHELL")
    with pytest.raises(StoreError, match="is damaged"):
        export_oci_layout(image, store, tmp_path / "out")


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False, timeout=60)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.requires("skopeo")
def test_skopeo_reads_what_we_export(store: Store, tmp_path: Path) -> None:
    image = build(plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS)), store).image
    export_oci_layout(image, store, tmp_path / "out", tag="v1")
    assert image.digest == json.loads(skopeo("inspect", f"oci:{tmp_path}/out:v1"))["Digest"]
    skopeo("copy", f"oci:{tmp_path}/out:v1", f"docker-archive:{tmp_path}/saved.tar:lab/x:1")
    saved = inspect_image(f"docker-archive:{tmp_path}/saved.tar:lab/x:1")
    assert [layer.diff_id for layer in image.layers] == list(saved.diff_ids)
    again = build(plan_of(f"docker-archive:{tmp_path}/saved.tar", saved.manifest_digest), Store(tmp_path / "other")).image
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in again.layers]


@pytest.mark.requires("umoci")
@pytest.mark.skipif(os.geteuid() != 0, reason="umoci unpacks owners as root only")
def test_umoci_unpacks_what_we_export(store: Store, tmp_path: Path) -> None:
    image = build(plan_of(f"oci:{tmp_path}/image", write_layout(tmp_path / "image", LAYERS)), store).image
    export_oci_layout(image, store, tmp_path / "out", tag="v1")
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/out:v1", tmp_path / "bundle"], capture_output=True, check=True, timeout=60
    )
    assert {"bin/sh": b"shell", "etc/os": b"two"} == {
        str(path.relative_to(tmp_path / "bundle" / "rootfs")): path.read_bytes()
        for path in (tmp_path / "bundle" / "rootfs").rglob("*")
        if path.is_file()
    }


def wheels(store: Store, number: int, *, clash: bool = False) -> list[tuple[Step, Layer]]:
    """*number* wheels of different size; with *clash* the first and the last bring the same path."""
    built: list[tuple[Step, Layer]] = []
    for position in range(number):
        step = InstallWheel(f"w{position}", "1", f"{position:064x}", f"w{position}.whl", "cpython", "3.13")
        with store.staging() as staging:
            root = staging / "root"
            (root / "lib").mkdir(parents=True)
            (root / "lib" / f"w{position}").write_bytes(bytes(position * 100))
            if clash and position in (0, number - 1):
                (root / "lib" / "shared").write_text(str(position))
            built.append((step, store.publish(digest_bytes(b"%d" % position), root, label=step.name)))
    return built


def test_a_hundred_layers_are_kept_apart(store: Store) -> None:
    built = wheels(store, MANIFEST_LAYERS)
    assert tuple((position,) for position in range(MANIFEST_LAYERS)) == group_layers(built)


def test_more_wheels_than_fit_share_layers_and_the_largest_keep_theirs(store: Store, tmp_path: Path) -> None:
    base: list[tuple[Step, Layer]] = [(MakeVenv("c", "/usr/bin/python3", "3.13.5"), wheels(store, 1)[0][1])]
    built = base + wheels(store, 130)
    plan = BuildPlan(tuple(step for step, _ in built), ImageConfig())

    image = assemble(plan, built, store, key=digest_bytes(b"plan"))

    assert MANIFEST_LAYERS >= len(image.groups)
    assert sorted(range(131)) == sorted(position for group in image.groups for position in group)
    assert {(position,) for position in range(131 - 80, 131)} <= set(image.groups), "the largest"
    assert image.manifest == assemble(plan, built, store, key=digest_bytes(b"plan")).manifest
    export_oci_layout(image, store, tmp_path / "out")
    found = inspect_image(f"oci:{tmp_path}/out")
    assert len(image.groups) == len(found.diff_ids)


@pytest.mark.parametrize("winner", ["later", "earlier is larger"])
def test_a_shared_path_has_the_same_winner_in_the_manifest(store: Store, tmp_path: Path, winner: str) -> None:
    """Joined layers lie above the others; the overlay of snapshots has them in order."""
    built = wheels(store, 130, clash=True)
    if winner == "earlier is larger":
        built = [built[-1], *built[1:-1], built[0]]
    expected = "129" if winner == "later" else "0"
    image = assemble(BuildPlan(tuple(step for step, _ in built), ImageConfig()), built, store, key=digest_bytes(b"p"))
    export_oci_layout(image, store, tmp_path / "out")
    other = Store(tmp_path / "other")
    again = build(plan_of(f"oci:{tmp_path}/out", image.digest), other).image
    brought = [path for layer in again.layers if (path := other.layer_dir(layer) / "lib" / "shared").exists()]
    assert expected == brought[-1].read_text()
