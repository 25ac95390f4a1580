"""How one layer of an image gets into a repository, with the least that has to be sent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import BinaryIO

from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import Descriptor
from runtime.registry.blob_upload import BlobFile, Uploads
from runtime.registry.client import Registry
from runtime.registry.compress import Compression, Compressor, compression_of
from runtime.registry.known_places import KnownBlob, Place, forget_place, known_blobs, remember_blob
from runtime.registry.refusals import RegistryRefusal
from runtime.side_by_side import Stop
from runtime.store.failures import store_error
from runtime.store.image_blobs import manifest_layer_chunks, manifest_layer_digest
from runtime.store.records import Image
from runtime.store.store import Store

_ASKED_FOR = 4
"""Known blobs that are asked for, and repositories that are asked to lend one, before the layer is compressed."""


class How(StrEnum):
    """How a layer came to be in the repository."""

    THERE = "there"
    MOUNTED = "mounted"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class PushedLayer:
    """A layer in the repository."""

    diff_id: Digest
    descriptor: Descriptor
    """As the pushed manifest names it."""
    how: How


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image goes, and what the push of all its layers shares."""

    registry: Registry
    repository: str
    store: Store
    compressor: Compressor
    compression: Compression | None
    """None: any that is there, else gzip."""
    uploads: Uploads
    stop: Stop

    def has(self, blob: Descriptor) -> bool:
        """Whether the repository has *blob*."""
        return self.registry.blob_size(self.repository, blob.digest) in (blob.size, 0)

    def push_document(self, content: bytes, media_type: str) -> tuple[Descriptor, int]:
        """A small blob into the repository; with the bytes that were sent."""
        blob = Descriptor(media_type, digest_bytes(content), len(content))
        if self.has(blob):
            return blob, 0
        with self.spool() as file:
            file.write(content)
            file.flush()
            self.uploads.send(BlobFile(file, blob.digest, blob.size, lambda _: None))
        return blob, blob.size

    @contextmanager
    def spool(self) -> Iterator[BinaryIO]:
        """A file without a name (O_TMPFILE) on the store's disk: it is gone when it is closed, whatever ends this process."""
        try:
            with tempfile.TemporaryFile(dir=self.store.root / "tmp") as file:
                yield file
        except OSError as error:
            raise store_error(error, f"cannot compress a layer in `{self.store.root / 'tmp'}`") from error


class LayerPush:
    """The push of the *which*-th layer of *image*'s manifest."""

    def __init__(self, image: Image, which: int, to: Target, *, sending: Callable[[int, int], None]) -> None:
        self._image = image
        self._which = which
        self._diff_id = manifest_layer_digest(image, which)
        self._to = to
        self._sending = sending

    def run(self) -> PushedLayer:
        """Let the repository have the layer."""
        known = [blob for blob in known_blobs(self._to.store, self._diff_id) if self._is_wanted(blob)]
        # Those that were seen here first: the first question is the last one then.
        known.sort(key=lambda blob: not any(self._is_here(place.repository) for place in self._places(blob)))
        return self._there(known) or self._mounted(known) or self._compressed()

    def _is_wanted(self, blob: KnownBlob) -> bool:
        compression = compression_of(blob.descriptor.media_type)
        return compression is not None and self._to.compression in (None, compression)

    def _there(self, known: list[KnownBlob]) -> PushedLayer | None:
        for blob in known[:_ASKED_FOR]:
            self._to.stop.check()
            if self._to.has(blob.descriptor):
                return self._done(blob.descriptor, How.THERE)
            if any(self._is_here(place.repository) for place in self._places(blob)):
                self._forget(blob, self._to.repository)
        return None

    def _mounted(self, known: list[KnownBlob]) -> PushedLayer | None:
        lenders = [
            (blob, place.repository) for blob in known for place in self._places(blob) if not self._is_here(place.repository)
        ]
        for blob, lender in lenders[:_ASKED_FOR]:
            self._to.stop.check()
            try:
                if self._to.registry.mount_blob(self._to.repository, blob.descriptor.digest, lender):
                    return self._done(blob.descriptor, How.MOUNTED)
            except RegistryRefusal as refused:
                if refused.status not in (400, 401, 403, 404, 405):
                    raise
                continue  # we may not read there; that says nothing about the repository we push to
            self._forget(blob, lender)
        return None

    def _compressed(self) -> PushedLayer:
        with self._to.spool() as file:
            blob = self._to.compressor.compress(self._chunks(), file, self._to.compression or Compression.GZIP)
            file.flush()
            if self._to.has(blob):
                return self._done(blob, How.THERE)
            self._sending(0, blob.size)
            self._to.uploads.send(BlobFile(file, blob.digest, blob.size, lambda sent: self._sending(sent, blob.size)))
        return self._done(blob, How.SENT)

    def _chunks(self) -> Iterator[bytes]:
        for chunk in manifest_layer_chunks(self._to.store, self._image, self._which):
            self._to.stop.check()
            yield chunk

    def _done(self, blob: Descriptor, how: How) -> PushedLayer:
        remember_blob(self._to.store, self._diff_id, blob, registry=self._to.registry.host, repository=self._to.repository)
        form = compression_of(blob.media_type)
        assert form is not None
        # A blob keeps its bytes when an OCI manifest names what a Docker manifest named.
        return PushedLayer(self._diff_id, Descriptor(form.media_type, blob.digest, blob.size), how)

    def _places(self, blob: KnownBlob) -> list[Place]:
        return [place for place in blob.places if place.registry == self._to.registry.host]

    def _is_here(self, repository: str) -> bool:
        return repository == self._to.repository

    def _forget(self, blob: KnownBlob, repository: str) -> None:
        where = {"registry": self._to.registry.host, "repository": repository}
        forget_place(self._to.store, self._diff_id, blob.descriptor.digest, **where)
