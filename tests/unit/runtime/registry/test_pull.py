"""Which image a reference means, what is refused by its name, and where it is looked for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_registry import LoopbackRegistry, loopback_registry

from runtime.errors import BadContent, NetworkError, Unsupported
from runtime.http.client import Patience
from runtime.layer.compression import decompress
from runtime.oci.digest import Digest, canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST
from runtime.oci.reference import Remote
from runtime.registry.pull import open_remote, resolve, tag_digest

NOBODY = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
HASTE = Patience(timeout_s=5.0, attempts=2, first_pause_s=0.01)


@pytest.fixture
def registry() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        yield running


def reference(registry: LoopbackRegistry, tag: str | None = "v1", digest: Digest | None = None) -> Remote:
    return Remote(registry.host, "lab/image", tag, digest)


def found(registry: LoopbackRegistry, tag: str | None = "v1", digest: Digest | None = None) -> Digest:
    return resolve(reference(registry, tag, digest), architecture="amd64", environ=NOBODY, patience=HASTE).manifest_digest


def listed(digest: Digest, size: int, **platform: str) -> dict[str, Any]:
    return {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}


def put_index(registry: LoopbackRegistry, tag: str, *entries: dict[str, Any], media_type: str = INDEX) -> Digest:
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}
    return registry.put_manifest("lab/image", tag, document, media_type)


def size_of(registry: LoopbackRegistry, digest: Digest) -> int:
    return len(registry.manifests["lab/image", digest][1])


def put_manifest(
    registry: LoopbackRegistry, config_type: str, layer_type: str, media_type: str = MANIFEST, **more: Any
) -> Digest:
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, **registry.put_blob(b"{}")},
        "layers": [{"mediaType": layer_type, **registry.put_blob(b"x")}],
        **more,
    }
    return registry.put_manifest("lab/image", "v1", document, media_type)


@pytest.mark.parametrize("media_type", [INDEX, DOCKER_INDEX])
def test_the_image_for_this_platform_is_chosen(registry: LoopbackRegistry, media_type: str) -> None:
    ours = registry.put_image("lab/image", "amd64", b"ours")
    other = registry.put_image("lab/image", "arm64", b"other", architecture="arm64")
    put_index(
        registry,
        "v1",
        listed(other, size_of(registry, other), os="linux", architecture="arm64", variant="v8"),
        listed(digest_bytes(b"attestation"), 11, os="unknown", architecture="unknown"),
        listed(ours, size_of(registry, ours), os="linux", architecture="amd64"),
        media_type=media_type,
    )
    assert ours == found(registry)


def test_an_index_may_hold_an_index(registry: LoopbackRegistry) -> None:
    ours = registry.put_image("lab/image", "amd64", b"ours")
    inner = put_index(registry, "inner", listed(ours, size_of(registry, ours), os="linux", architecture="amd64"))
    put_index(registry, "v1", {"mediaType": INDEX, "digest": inner, "size": size_of(registry, inner)})
    assert ours == found(registry)


def test_an_index_without_our_platform_lists_those_it_has(registry: LoopbackRegistry) -> None:
    other = registry.put_image("lab/image", "arm64", b"other", architecture="arm64")
    put_index(registry, "v1", listed(other, size_of(registry, other), os="linux", architecture="arm64"))
    with pytest.raises(BadContent, match=r"lab/image:v1` has no image for linux/amd64 \(there are: linux/arm64\)"):
        found(registry)


def test_an_image_for_another_machine_is_refused(registry: LoopbackRegistry) -> None:
    registry.put_image("lab/image", "v1", b"other", architecture="s390x")
    with pytest.raises(BadContent, match="is for linux/s390x, not for linux/amd64"):
        found(registry)


def test_a_size_that_the_index_names_wrongly_is_refused(registry: LoopbackRegistry) -> None:
    ours = registry.put_image("lab/image", "amd64", b"ours")
    put_index(registry, "v1", listed(ours, 7, os="linux", architecture="amd64"))
    with pytest.raises(BadContent, match="its index names 7"):
        found(registry)


def test_dockers_own_types_are_read(registry: LoopbackRegistry) -> None:
    packed = gzip.compress(b"layer")
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest_bytes(b"layer")]}}
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", **registry.put_blob(canonical_json(config))},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", **registry.put_blob(packed)}],
    }
    registry.put_manifest("lab/image", "v1", document, DOCKER_MANIFEST)
    with open_remote(reference(registry), architecture="amd64", environ=NOBODY) as source:
        with source.layer(0) as file:
            stream = decompress(file)
            assert b"layer" == stream.read(100)


def test_a_helm_chart_is_named(registry: LoopbackRegistry) -> None:
    put_manifest(registry, "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    with pytest.raises(Unsupported, match=r"lab/image:v1` is a Helm chart, not a container image"):
        found(registry)


def test_another_artifact_is_named_by_its_type(registry: LoopbackRegistry) -> None:
    empty = "application/vnd.oci.empty.v1+json"
    put_manifest(registry, empty, "text/plain", artifactType="application/vnd.lab.model")
    with pytest.raises(Unsupported, match=r"is an artifact of type `application/vnd\.lab\.model`"):
        found(registry)


@pytest.mark.parametrize(
    "layer_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
def test_foreign_layers_are_refused(registry: LoopbackRegistry, layer_type: str) -> None:
    put_manifest(registry, CONFIG, layer_type, urls=["http://elsewhere.example/layer"])
    with pytest.raises(Unsupported, match=r"layer 1 of .* is foreign"):
        found(registry)


def test_a_layer_of_an_unknown_type_is_refused(registry: LoopbackRegistry) -> None:
    put_manifest(registry, CONFIG, "application/vnd.lab.layer+brotli")
    with pytest.raises(BadContent, match=r"cannot unpack a layer of media type `application/vnd\.lab\.layer\+brotli`"):
        found(registry)


@pytest.mark.parametrize("signed", ["json", "prettyjws"])
def test_schema_1_is_refused_by_its_name(registry: LoopbackRegistry, signed: str) -> None:
    document = {"schemaVersion": 1, "name": "lab/image", "fsLayers": [], "history": []}
    registry.put_manifest("lab/image", "v1", document, f"application/vnd.docker.distribution.manifest.v1+{signed}")
    with pytest.raises(Unsupported, match="is in Docker's manifest schema 1") as told:
        found(registry)
    assert "skopeo copy" in str(told.value.hint)


def test_layers_and_configuration_have_to_agree(registry: LoopbackRegistry) -> None:
    registry.put_image("lab/image", "v1", b"a", rootfs={"type": "layers", "diff_ids": []})
    with pytest.raises(BadContent, match="has 1 layers and its configuration 0 diff_ids"):
        found(registry)


def test_the_digest_decides_and_the_tag_may_have_moved(registry: LoopbackRegistry) -> None:
    before = registry.put_image("lab/image", "v1", b"before")
    after = registry.put_image("lab/image", "v1", b"after")
    assert before == found(registry, "v1", before)
    assert after == tag_digest(reference(registry, "v1", before), environ=NOBODY)
    assert tag_digest(reference(registry, "gone", before), environ=NOBODY) is None


def test_progress_counts_what_arrives(registry: LoopbackRegistry) -> None:
    registry.put_image("lab/image", "v1", b"x" * 600_000)
    heard: list[tuple[str, int, int | None]] = []
    with open_remote(
        reference(registry), architecture="amd64", environ=NOBODY, progress=lambda *all_of_it: heard.append(all_of_it)
    ) as source:
        with source.layer(0) as file:
            assert b"xxxx" == file.read(4)
            assert 600_000 - 4 == len(file.read())
    name = f"layer {digest_bytes(b'x' * 600_000).short}"
    assert (name, 600_000, 600_000) == heard[-1]
    assert sorted(heard) == heard


def test_what_nobody_reads_is_checked_all_the_same(registry: LoopbackRegistry) -> None:
    registry.put_image("lab/image", "v1", b"x" * 600_000)
    registry.blobs[digest_bytes(b"x" * 600_000)] = b"x" * 599_999 + b"y"
    with open_remote(reference(registry), architecture="amd64", environ=NOBODY) as source:
        with pytest.raises(BadContent, match="has digest"), source.layer(0) as file:
            file.read(10)


# --- mirrors


@pytest.fixture
def mirror() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        yield running


def mirrored(tmp_path: Path, registry: LoopbackRegistry, *mirrors: str) -> dict[str, str]:
    file = tmp_path / "launch/registries.conf"
    file.parent.mkdir()
    tables = "".join(f'[[registry.mirror]]\nlocation = "{location}"\n' for location in mirrors)
    file.write_text(f'[[registry]]\nprefix = "{registry.host}"\nlocation = "{registry.host}"\n{tables}')
    return {**NOBODY, "XDG_CONFIG_HOME": str(tmp_path)}


def test_a_mirror_is_asked_first_and_the_origin_not_at_all(
    registry: LoopbackRegistry, mirror: LoopbackRegistry, tmp_path: Path
) -> None:
    digest = mirror.put_image("copies/lab/image", "v1", b"layer")
    environ = mirrored(tmp_path, registry, f"{mirror.host}/copies")
    with open_remote(reference(registry), architecture="amd64", environ=environ) as source:
        assert digest == source.contents.manifest_digest
        with source.layer(0) as file:
            assert b"layer" == file.read()
    assert [] == registry.requests


def test_what_mirrors_lack_comes_from_the_origin(registry: LoopbackRegistry, mirror: LoopbackRegistry, tmp_path: Path) -> None:
    digest = registry.put_image("lab/image", "v1", b"layer")
    environ = mirrored(tmp_path, registry, "127.0.0.1:1", mirror.host)
    assert digest == resolve(reference(registry), architecture="amd64", environ=environ, patience=HASTE).manifest_digest
    assert ["GET /v2/", "GET /v2/lab/image/manifests/v1"] == mirror.paths()


def test_when_nobody_has_it_everybody_that_was_asked_is_named(
    registry: LoopbackRegistry, mirror: LoopbackRegistry, tmp_path: Path
) -> None:
    environ = mirrored(tmp_path, registry, mirror.host)
    with pytest.raises(NetworkError, match=f"registry `{registry.host}`: manifest `v1`") as told:
        resolve(reference(registry), architecture="amd64", environ=environ, patience=HASTE)
    assert any(mirror.host in note for note in told.value.__notes__)


def test_a_mirror_that_lies_about_a_digest_is_passed_over(
    registry: LoopbackRegistry, mirror: LoopbackRegistry, tmp_path: Path
) -> None:
    digest = registry.put_image("lab/image", "v1", b"layer")
    mirror.manifests["lab/image", digest] = (MANIFEST, b'{"schemaVersion": 2}')
    environ = mirrored(tmp_path, registry, mirror.host)
    found = resolve(reference(registry, None, digest), architecture="amd64", environ=environ, patience=HASTE)
    assert digest == found.manifest_digest
