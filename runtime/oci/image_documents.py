"""Documents of the OCI image-spec 1.1: descriptors, manifests, indexes, configurations; `docker save`'s list; and
what every kind of source of images (files, a registry) gives before layers are unpacked. No I/O.

Reading is strict about what we rely on and blind to the rest: a media type that says one thing while the fields say another
lets a document be two things at once (CVE-2021-41190), so such a document is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest
from runtime.oci.json_fields import Fields

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

_INDEXES = (INDEX, DOCKER_INDEX)
_MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
_CONFIGS = (CONFIG, DOCKER_CONFIG)
_LAYERS = (
    LAYER,
    f"{LAYER}+gzip",
    f"{LAYER}+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
DOCUMENT_LIMIT = 4 << 20
"""Larger documents are refused, as registries do."""
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
"""The whole name of an image, where containerd and BuildKit write a layout; `ref.name` is its tag then."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What refers to content (descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    platform: tuple[str, str] | None = None
    """(os, architecture), in an index."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None:
            document["platform"] = {"os": self.platform[0], "architecture": self.platform[1]}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest (manifest.md)."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


def parse_document(content: bytes, what: str) -> dict[str, Any]:
    """The JSON object in *content*. Raises BadContent when it is none, or names a key twice."""
    if len(content) > DOCUMENT_LIMIT:
        raise BadContent(f"{what} has {len(content)} bytes: more than {DOCUMENT_LIMIT} is not taken")
    try:
        document = json.loads(content, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise BadContent(f"{what} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadContent(f"{what} is not a JSON object")
    return document


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object names a key twice")
    return document


def manifest_from_json(document: dict[str, Any]) -> Manifest:
    """The image manifest in *document*."""
    fields = _versioned(document, "image manifest")
    media_type = document.get("mediaType", MANIFEST)
    if media_type not in _MANIFESTS or "manifests" in document or "fsLayers" in document:
        raise BadContent(f"not an image manifest: media type `{media_type}`")
    config = _descriptor(Fields(document.get("config"), "image manifest.config"))
    if config.media_type not in _CONFIGS:
        raise BadContent(
            f"the manifest's configuration has media type `{config.media_type}`", hint="it is an artifact, not a container image"
        )
    layers = tuple(map(_descriptor, fields.required_children("layers")))
    for layer in layers:
        if layer.media_type not in _LAYERS:
            raise BadContent(f"cannot unpack a layer of media type `{layer.media_type}`")
    return Manifest(config, layers, fields.text_map("annotations"))


def index_from_json(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    """The manifests that an image index (image-index.md) lists."""
    fields = _versioned(document, "image index")
    media_type = document.get("mediaType", INDEX)
    if media_type not in _INDEXES or "layers" in document or "config" in document:
        raise BadContent(f"not an image index: media type `{media_type}`")
    return tuple(map(_descriptor, fields.required_children("manifests")))


def is_index(descriptor: Descriptor) -> bool:
    return descriptor.media_type in _INDEXES


def check_diff_ids(
    config: dict[str, Any], layers: int, *, architecture: str | None, what: str = "the image"
) -> tuple[Digest, ...]:
    """`rootfs.diff_ids` of the configuration (config.md) of an image with so many *layers*, for linux and *architecture* (None:
    whatever it is)."""
    rootfs = Fields(config.get("rootfs"), "image configuration.rootfs")
    if rootfs.text("type") != "layers":
        raise BadContent("image configuration has no `rootfs` of type `layers`")
    diff_ids = tuple(map(Digest, rootfs.required_texts("diff_ids")))
    if len(diff_ids) != layers:
        raise BadContent(f"{what} has {layers} layers and its configuration {len(diff_ids)} diff_ids")
    found = config.get("architecture")
    if config.get("os") != "linux" or (architecture is not None and found != architecture):
        raise BadContent(f"{what} is for {config.get('os')}/{found}, not for linux/{architecture or 'this machine'}")
    return diff_ids


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One image of a `docker save` archive: paths of its members."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def saved_images_from_json(content: bytes) -> tuple[SavedImage, ...]:
    """The images that `manifest.json` of a `docker save` archive lists."""
    if len(content) > DOCUMENT_LIMIT:
        raise BadContent("`manifest.json` is too big")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadContent(f"`manifest.json` is not valid JSON: {error}") from error
    if not isinstance(document, list):
        raise BadContent("`manifest.json` is not a list of images")
    listed = [Fields(item, f"manifest.json[{number}]") for number, item in enumerate(document)]
    return tuple(
        SavedImage(item.required_text("Config"), item.texts("RepoTags"), item.required_texts("Layers")) for item in listed
    )


def choose_platform(manifests: Sequence[Descriptor], *, architecture: str, what: str) -> Descriptor:
    """The one manifest for linux and *architecture*; one that names no platform is taken when it is alone."""
    fitting = [item for item in manifests if item.platform == ("linux", architecture)]
    if fitting:
        return fitting[0]
    if len(manifests) == 1 and manifests[0].platform is None:
        return manifests[0]
    there = ", ".join(sorted("/".join(item.platform) for item in manifests if item.platform is not None)) or "none named"
    raise BadContent(f"{what} has no image for linux/{architecture} (there are: {there})")


def _versioned(document: dict[str, Any], what: str) -> Fields:
    if document.get("schemaVersion") != 2:
        raise BadContent(f"{what} has schemaVersion {document.get('schemaVersion')!r}, not 2")
    return Fields(document, what)


def _descriptor(fields: Fields) -> Descriptor:
    platform = fields.child("platform")
    return Descriptor(
        fields.required_text("mediaType"),
        Digest(fields.required_text("digest")),
        fields.required_integer("size", lowest=0),
        None if platform is None else (platform.required_text("os"), platform.required_text("architecture")),
        fields.text_map("annotations"),
    )


@dataclass(frozen=True, slots=True)
class ImageContents:
    """An image from outside, before its layers are unpacked."""

    manifest_digest: Digest
    """For `docker-archive` the digest of the configuration."""
    config: dict[str, Any]
    """The image configuration document."""
    diff_ids: tuple[Digest, ...]
    size_bytes: int
    """Of the layers as they lie there."""
    config_bytes: bytes = b""
    """The configuration as it came: its digest is what Docker calls the image's ID. Empty when *config* was made here."""
    blobs: tuple[Descriptor, ...] = ()
    """The layers as they lie there, compressed or not; empty for `docker-archive`, which names no digests."""

    @property
    def execution(self) -> dict[str, Any]:
        """`config` of the configuration: Env, User, WorkingDir, Entrypoint, Cmd, … (config.md)."""
        execution = self.config.get("config")
        return execution if isinstance(execution, dict) else {}


class ImageSource(Protocol):
    """An opened image: its contents, and its layers as files (compressed or not)."""

    contents: ImageContents

    def layer(self, position: int) -> Any:
        """A context manager with the layer as a seekable binary file, digest checked."""


def image_contents(
    digest: Digest, manifest: Manifest, config_bytes: bytes, *, architecture: str, what: str = "the image"
) -> ImageContents:
    """The image whose manifest is *manifest*, with *digest*. Raises BadContent when it is damaged or for another machine."""
    config = parse_document(config_bytes, f"the configuration of {what}")
    diff_ids = check_diff_ids(config, len(manifest.layers), architecture=architecture, what=what)
    return ImageContents(digest, config, diff_ids, sum(layer.size for layer in manifest.layers), config_bytes, manifest.layers)
