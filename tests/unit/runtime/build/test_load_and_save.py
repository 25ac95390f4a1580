"""What any tool saved is loaded with its names, and what we save is read by skopeo, by us, and is never half there."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from saved_images import config_of, digest, tar_of, write_layout, write_saved

from runtime.build.images.import_image import Loaded, load_images
from runtime.build.observer import NullObserver
from runtime.errors import BadContent, BuildError, StoreError
from runtime.store.image_blobs import config_bytes
from runtime.store.records import Image
from runtime.store.save import annotations_of, docker_archive, oci_archive
from runtime.store.store import Store

LAYERS = [tar_of({"bin/sh": b"shell", "etc/os": b"one"}), tar_of({"etc/os": b"two", "etc/.wh.old": b""})]
OTHER = [LAYERS[0], tar_of({"etc/os": b"three"})]


def load(path: Path, store: Store) -> list[Loaded]:
    return load_images(path, store, observer=NullObserver(), architecture="amd64")


def names(loaded: list[Loaded]) -> list[tuple[str, ...]]:
    return [each.names for each in loaded]


def write_index(directory: Path, *entries: dict[str, Any]) -> None:
    """The manifests of *directory* (by `write_layout`) under the annotations and platforms of *entries*."""
    listed = json.loads((directory / "index.json").read_bytes())["manifests"]
    bare = {key: listed[0][key] for key in ("mediaType", "digest", "size")}
    manifests = [bare | entry for entry in entries]
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


REF, WHOLE = "org.opencontainers.image.ref.name", "io.containerd.image.name"


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        pytest.param({}, (), id="none"),
        pytest.param({REF: "v1"}, ("image:v1",), id="a tag goes with the directory's name"),
        pytest.param({REF: "lab/x:2"}, ("lab/x:2",), id="podman: a whole name"),
        pytest.param({REF: "docker.io/library/x:2"}, ("x:2",), id="as people write it"),
        pytest.param({REF: "3", WHOLE: "docker.io/lab/x:3"}, ("lab/x:3",), id="BuildKit"),
        pytest.param({REF: "Not A Tag"}, ("Not A Tag",), id="anything else as it is"),
    ],
)
def test_an_image_of_a_layout_has_the_name_that_its_annotations_give(
    store: Store, tmp_path: Path, annotations: dict[str, str], name: tuple[str, ...]
) -> None:
    write_layout(tmp_path / "image", LAYERS)
    write_index(tmp_path / "image", {"annotations": annotations} if annotations else {})
    assert [name] == names(load(tmp_path / "image", store))


def test_one_image_with_two_names_is_loaded_once(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    entries = [{"annotations": {REF: f"lab/x:{tag}"}} for tag in "ab"]
    write_index(tmp_path / "image", *entries)
    assert [("lab/x:a", "lab/x:b")] == names(load(tmp_path / "image", store))
    assert store.image("lab/x:a").digest == store.image("lab/x:b").digest


def test_of_several_platforms_this_one_is_loaded(store: Store, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", LAYERS)
    name = {"annotations": {REF: "lab/x:1"}}
    foreign = {"digest": digest(b"not here"), "platform": {"os": "linux", "architecture": "s390x"}}
    attestation = {"digest": digest(b"nor here"), "platform": {"os": "unknown", "architecture": "unknown"}}
    here = {"platform": {"os": "linux", "architecture": "amd64"}}
    write_index(tmp_path / "image", name | foreign, name | attestation, name | here)
    assert [("lab/x:1",)] == names(load(tmp_path / "image", store))
    write_index(tmp_path / "image", name | foreign, name | attestation)
    with pytest.raises(BadContent, match="no image for linux/amd64"):
        load(tmp_path / "image", store)


def archive_of(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(directory, ".")
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [pytest.param(bytes, id="plain"), pytest.param(gzip.compress, id="gzip")])
def test_archives_are_loaded_packed_or_not(store: Store, tmp_path: Path, pack: Any) -> None:
    write_layout(tmp_path / "image", LAYERS)
    (tmp_path / "image.tar").write_bytes(pack(archive_of(tmp_path / "image")))
    image_id = write_saved(tmp_path / "plain.tar", LAYERS, tag="lab/saved:1")
    (tmp_path / "saved.tar").write_bytes(pack((tmp_path / "plain.tar").read_bytes()))

    layout, saved = load(tmp_path / "image.tar", store), load(tmp_path / "saved.tar", store)

    assert [("image:v1",), ("lab/saved:1",)] == names(layout) + names(saved)
    assert layout[0].image.digest == saved[0].image.digest
    assert image_id == digest(config_bytes(store, saved[0].image))


def test_an_archive_with_several_images_is_loaded_whole(store: Store, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "saved.tar", "w") as archive:
        listed = []
        for tag, layers in (("a:1", LAYERS), ("b:1", OTHER)):
            for name, content in ((f"{tag}.json", config_of(layers)), *((f"{tag}{n}", layer) for n, layer in enumerate(layers))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            listed.append({"Config": f"{tag}.json", "RepoTags": [tag], "Layers": [f"{tag}{n}" for n in range(len(layers))]})
        content = json.dumps([*listed, listed[0] | {"RepoTags": None}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    assert [("a:1",), ("b:1",), ()] == names(load(tmp_path / "saved.tar", store))
    assert 3 == len(store.layers())


def test_what_holds_no_image_says_so(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "layer.tar").write_bytes(LAYERS[0])
    (tmp_path / "text").write_text("hello " * 200)
    for name, error, complaint in (
        ("empty", BuildError, "no OCI image layout"),
        ("layer.tar", BadContent, "holds no image"),
        ("text", BadContent, "checksum|malformed"),
        ("missing", BuildError, "no such file"),
    ):
        with pytest.raises(error, match=complaint):
            load(tmp_path / name, store)


@pytest.fixture
def image(store: Store, tmp_path: Path) -> Image:
    write_layout(tmp_path / "image", LAYERS)
    return load(tmp_path / "image", store)[0].image


def saved(path: Path, chunks: Any) -> Path:
    path.write_bytes(b"".join(chunks))
    return path


def test_what_is_saved_is_loaded_elsewhere_as_the_same_image(store: Store, image: Image, tmp_path: Path) -> None:
    for number, archive in enumerate((docker_archive, oci_archive)):
        other = Store(tmp_path / f"other{number}")
        path = saved(tmp_path / f"saved{number}.tar", archive(image, store, names=["lab/x:1"]))
        loaded = load(path, other)
        assert [(image.digest, ("lab/x:1",))] == [(each.image.digest, each.names) for each in loaded]
        assert config_bytes(store, image) == config_bytes(other, loaded[0].image)


def test_saving_twice_gives_the_same_bytes(store: Store, image: Image) -> None:
    first, second = (b"".join(docker_archive(image, store, names=["a:1"])) for _ in range(2))
    assert first == second


def test_a_damaged_layer_ends_the_archive_with_an_error(store: Store, image: Image) -> None:
    (store.layer_dir(image.layers[0]) / "bin/sh").write_bytes(b"SHELL")
    for archive in (docker_archive, oci_archive):
        with pytest.raises(StoreError, match="is damaged"):
            b"".join(archive(image, store, names=[]))


@pytest.mark.parametrize(
    ("name", "tag", "whole"),
    [
        ("digits", "digits:latest", "docker.io/library/digits:latest"),
        ("lab/x:2", "lab/x:2", "docker.io/lab/x:2"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
    ],
)
def test_names_are_written_as_docker_and_containerd_want_them(name: str, tag: str, whole: str) -> None:
    expected = {REF: tag, WHOLE: whole}
    assert expected == annotations_of(name)


def test_a_name_that_docker_cannot_have_is_no_tag(store: Store, image: Image, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tar", docker_archive(image, store, names=["No Name"]))
    assert [()] == names(load(path, store))


@pytest.mark.requires("skopeo")
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save(store: Store, image: Image, tmp_path: Path, transport: str) -> None:
    archive = docker_archive if transport == "docker-archive" else oci_archive
    path = saved(tmp_path / "saved.tar", archive(image, store, names=["lab/x:1"]))
    done = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", f"{transport}:{path}:lab/x:1", f"oci:{tmp_path}/copied:v1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert [layer.diff_id for layer in image.layers] == [
        layer.diff_id for layer in load(tmp_path / "copied", Store(tmp_path / "other"))[0].image.layers
    ]
