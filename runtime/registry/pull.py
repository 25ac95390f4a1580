"""Images in registries, as `image_source` wants them: which one a reference means, and its layers as streams.

A reference is looked for at its mirrors in their order, then at its origin (`configuration.py`). With tag and digest
(`name:tag@sha256:…`) the digest decides, as it does for Docker: the tag is for people, and moves on (`tag_digest` tells where).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from runtime.errors import BadContent, NetworkError, RuntimeFailure, Unsupported
from runtime.http.client import Patience
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest
from runtime.oci.image_documents import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageContents,
    ImageSource,
    choose_platform,
    image_contents,
    index_from_json,
    manifest_from_json,
    parse_document,
)
from runtime.oci.reference import Remote, shown_reference
from runtime.registry.client import MANIFEST_TYPES, ManifestAnswer, Registry
from runtime.registry.configuration import Endpoint, registries_configuration
from runtime.registry.download import BlobStream, fetch_document

Progress = Callable[[str, int, int | None], None]
"""(which layer, bytes that have arrived, bytes in all); called from several threads."""

_DEEPEST_INDEX = 2


@contextmanager
def open_remote(
    reference: Remote,
    *,
    architecture: str,
    progress: Progress | None = None,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> Iterator[ImageSource]:
    """The image *reference*: manifest and configuration are fetched and checked here, each layer when it is asked for.

    Layers may be read side by side; each is a stream that is checked at its end and can only be read once (`BlobStream`). Raises
    NetworkError when no registry gives it, BadContent when it is damaged, Unsupported when it is no image that can be a base.
    """
    registry, repository, contents = _find(reference, architecture=architecture, environ=environ, patience=patience)
    try:
        yield _RemoteImage(registry, repository, contents, progress)
    finally:
        registry.close()


def resolve(
    reference: Remote, *, architecture: str, environ: Mapping[str, str] = os.environ, patience: Patience | None = None
) -> ImageContents:
    """What *reference* is now, without its layers."""
    with open_remote(reference, architecture=architecture, environ=environ, patience=patience) as source:
        return source.contents


def tag_digest(reference: Remote, *, environ: Mapping[str, str] = os.environ) -> Digest | None:
    """Which manifest or index the tag of *reference* points to at its origin now; None when there is no such tag."""
    if reference.tag is None:
        return None
    origin = registries_configuration(environ).endpoint(reference.registry, reference.repository)
    registry = _registry(origin, environ, None)
    try:
        return registry.manifest_digest(origin.repository, reference.tag)
    finally:
        registry.close()


@dataclass(slots=True)
class _RemoteImage:
    """An image whose layers are fetched on demand."""

    registry: Registry
    repository: str
    contents: ImageContents
    progress: Progress | None

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        descriptor = self.contents.blobs[position]
        stream = BlobStream(self.registry, self.repository, descriptor, arrived=self._counter(descriptor))
        try:
            yield cast(BinaryIO, stream)
            stream.finish()
        finally:
            stream.close()

    def _counter(self, descriptor: Descriptor) -> Callable[[int], None] | None:
        progress, arrived = self.progress, 0
        if progress is None:
            return None

        def count(size: int) -> None:
            nonlocal arrived
            arrived += size
            progress(f"layer {descriptor.digest.short}", arrived, descriptor.size)

        return count


def _find(
    reference: Remote, *, architecture: str, environ: Mapping[str, str], patience: Patience | None
) -> tuple[Registry, str, ImageContents]:
    """The image at the first endpoint that has it: there, and under which name of a repository."""
    failed: list[str] = []
    for endpoint in registries_configuration(environ).endpoints(reference):
        registry = _registry(endpoint, environ, patience)
        try:
            contents = _contents(registry, endpoint.repository, reference, architecture)
        except RuntimeFailure as error:
            registry.close()
            if not endpoint.is_mirror:
                for line in failed:
                    error.add_note(f"asked before: {line}")
                raise
            failed.append(error.message)
            continue
        return registry, endpoint.repository, contents
    raise NetworkError(f"no registry has `{shown_reference(reference)}`: {'; '.join(failed)}")


def _registry(endpoint: Endpoint, environ: Mapping[str, str], patience: Patience | None) -> Registry:
    return Registry(
        endpoint.host,
        environ=environ,
        insecure=endpoint.insecure or None,
        repository=endpoint.repository,
        patience=patience,
    )


def _contents(registry: Registry, repository: str, reference: Remote, architecture: str) -> ImageContents:
    what = f"`{shown_reference(reference)}`"
    answer, document = _image_manifest(registry, repository, reference, architecture, what)
    refuse_artifact(document, what)
    layers = document.get("layers")
    refuse_foreign_layers(layers if isinstance(layers, list) else [], what)
    manifest = manifest_from_json(document)
    config_bytes = fetch_document(registry, repository, manifest.config)
    return image_contents(answer.digest, manifest, config_bytes, architecture=architecture, what=what)


def _image_manifest(
    registry: Registry, repository: str, reference: Remote, architecture: str, what: str
) -> tuple[ManifestAnswer, dict[str, Any]]:
    """The manifest for this platform, through as many indexes as there may be."""
    wanted = reference.digest or reference.tag or "latest"
    size: int | None = None
    for _ in range(_DEEPEST_INDEX + 1):
        answer = registry.manifest(repository, wanted)
        if size is not None and len(answer.content) != size:
            raise BadContent(f"manifest `{wanted}` of {what} has {len(answer.content)} bytes, its index names {size}")
        if not is_document(answer):
            raise BadContent(
                f"{what} came as `{answer.media_type}`, which is no image",
                hint="is this the address of a registry, or of a web page?",
            )
        document = parse_document(answer.content, f"the manifest of {what}")
        if manifest_kind(answer, document, what) not in (INDEX, DOCKER_INDEX):
            return answer, document
        chosen = choose_platform(index_from_json(document), architecture=architecture, what=what)
        wanted, size = chosen.digest, chosen.size
    raise Unsupported(f"{what} is an index of indexes, nested more than {_DEEPEST_INDEX} deep")


_SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
_JSON = ("", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream")
_ARTIFACTS = {
    "application/vnd.cncf.helm.config.v1+json": "a Helm chart",
    "application/vnd.docker.plugin.v1+json": "a Docker plugin",
    "application/vnd.wasm.config.v0+json": "a WebAssembly module",
    "application/vnd.wasm.config.v1+json": "a WebAssembly module",
    "application/vnd.cncf.openpolicyagent.config.v1+json": "a policy bundle",
}
_FOREIGN = ("nondistributable", ".foreign.")


def manifest_kind(answer: ManifestAnswer, document: dict[str, Any], what: str) -> str:
    """The media type of *answer*, one of the four that an image can have. Raises Unsupported or BadContent for others."""
    said = document.get("mediaType")
    if answer.media_type in _SCHEMA_1 or (document.get("schemaVersion") == 1 and "fsLayers" in document):
        raise Unsupported(
            f"{what} is in Docker's manifest schema 1, which has no digests of layers' contents and is not read",
            hint="push it again with a current docker, podman or skopeo (`skopeo copy docker://OLD docker://NEW`)",
        )
    if answer.media_type in MANIFEST_TYPES:
        if said is not None and said != answer.media_type:
            raise BadContent(f"{what} came as `{answer.media_type}` and says of itself that it is `{said}`")
        return answer.media_type
    if said in MANIFEST_TYPES:
        return str(said)
    if said is None and answer.media_type in _JSON:
        return INDEX if "manifests" in document else MANIFEST
    raise BadContent(
        f"{what} came as `{said if isinstance(said, str) else answer.media_type}`, which is no image",
        hint="is this the address of a registry, and the name of a container image?",
    )


def is_document(answer: ManifestAnswer) -> bool:
    """Whether it may be JSON: a proxy's login page is not."""
    return answer.media_type in (*MANIFEST_TYPES, *_SCHEMA_1, *_JSON) or answer.media_type.endswith("json")


def refuse_artifact(document: dict[str, Any], what: str) -> None:
    """Raise Unsupported, by its name, when the manifest *document* is an artifact and no container image."""
    config = document.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    if config_type in (CONFIG, DOCKER_CONFIG) or not isinstance(config_type, str):
        return
    kind = document.get("artifactType") or config_type
    name = _ARTIFACTS.get(config_type, f"an artifact of type `{kind}`")
    raise Unsupported(f"{what} is {name}, not a container image", hint="only images with a file system can be a base")


def refuse_foreign_layers(layers: list[Any], what: str) -> None:
    """Raise Unsupported when *layers* (as the manifest lists them) has one that registries don't hand out."""
    for position, layer in enumerate(layers, start=1):
        media_type = layer.get("mediaType") if isinstance(layer, dict) else None
        if isinstance(media_type, str) and any(word in media_type for word in _FOREIGN):
            raise Unsupported(
                f"layer {position} of {what} is foreign (`{media_type}`): the registry doesn't have it and its licence forbids "
                "to hand it on",
                hint="such layers are those of Windows images",
            )
