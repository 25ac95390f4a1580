"""An image from outside, before its layers are unpacked: what every kind of source (files, a registry) gives. Values; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from runtime.oci.digest import Digest
from runtime.oci.image_documents import Descriptor


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

    @property
    def env(self) -> dict[str, str]:
        """`config.Env` as a mapping."""
        pairs = self.execution.get("Env")
        return dict(pair.split("=", 1) for pair in pairs or () if isinstance(pair, str) and "=" in pair)


class ImageSource(Protocol):
    """An opened image: its contents, and its layers as files (compressed or not)."""

    contents: ImageContents

    def layer(self, position: int) -> Any:
        """A context manager with the layer as a seekable binary file, digest checked."""
