"""What a registry gave as a manifest: an index, an image, or something that is no container image and is refused by its name.

Registries label what they send; tools and proxies mislabel it. A label that is one of the four types is believed and must agree
with what the document says of itself (CVE-2021-41190); another one is not, and the document has to say it.
"""

from __future__ import annotations

from typing import Any

from runtime.errors import BadContent, Unsupported
from runtime.oci.image_documents import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST
from runtime.registry.client import ManifestAnswer

_KNOWN = (INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
_SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
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
    if answer.media_type in _KNOWN:
        if said is not None and said != answer.media_type:
            raise BadContent(f"{what} came as `{answer.media_type}` and says of itself that it is `{said}`")
        return answer.media_type
    if said in _KNOWN:
        return str(said)
    if said is None and answer.media_type in _JSON:
        return INDEX if "manifests" in document else MANIFEST
    raise BadContent(
        f"{what} came as `{said if isinstance(said, str) else answer.media_type}`, which is no image",
        hint="is this the address of a registry, and the name of a container image?",
    )


def is_document(answer: ManifestAnswer) -> bool:
    """Whether it may be JSON: a proxy's login page is not."""
    return answer.media_type in (*_KNOWN, *_SCHEMA_1, *_JSON) or answer.media_type.endswith("json")


def refuse_artifact(document: dict[str, Any], what: str) -> None:
    """Raise Unsupported, by its name, when the manifest *document* is an artifact and no container image."""
    config = document.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    if config_type in _CONFIGS or not isinstance(config_type, str):
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
