"""Blobs into a repository: in one piece where that works, and on from where a broken connection left it where the registry can.

A small blob goes with the request that ends its upload (distribution-spec, "POST then PUT"). A large one is streamed with one
PATCH, as Docker does it: every registry takes that, also those that take no chunks. After a break the registry is asked how much
it has, and the rest follows in pieces with `Content-Range`, so that the next break costs one piece. Distribution's own registry
gives up an upload whose request broke (its state doesn't fit any more): then the blob is sent from its beginning.

Who finds a request too large (413; mostly a proxy in front of the registry) gets pieces from then on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from runtime.errors import NetworkError
from runtime.http.client import PASSING_STATUSES
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest
from runtime.registry.client import Registry
from runtime.registry.refusals import RegistryRefusal
from runtime.side_by_side import Stop

_IN_ONE_REQUEST = 4 << 20
_PIECE = 8 << 20
_SMALLEST_PIECE = 1 << 19
_READ = 1 << 18
_TOO_LARGE = 413
_UNAUTHORIZED = 401
"""The token ended while the blob was under way."""
_WRONG_OFFSET = 416
"""What was sent before a break was still being taken in when the registry said how far it is."""
_UPLOAD_IS_LOST = (400, 404, 409, _WRONG_OFFSET)
"""The registry doesn't know the upload, or doesn't agree about how far it is: begin another one."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A blob on its way. *file* is read with pread: it may be a temporary one without a name."""

    file: BinaryIO
    digest: Digest
    size: int
    sent: Callable[[int], None]
    """Told how much has gone."""

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.file.fileno(), min(size, self.size - offset), offset)


class Uploads:
    """Uploads to one repository; what one of them learned about the way there holds for all. Used by several threads."""

    def __init__(self, registry: Registry, repository: str, *, stop: Stop) -> None:
        self._registry = registry
        self._repository = repository
        self._stop = stop
        self._largest: int | None = None
        """Bytes that a request may have; None: any number, as far as we know."""

    def send(self, blob: BlobFile) -> None:
        """Send *blob*. Raises NetworkError when patience ended, RegistryRefusal when the registry doesn't want it."""
        attempt = 0
        while True:
            location = self._registry.start_upload(self._repository)
            largest = self._largest
            try:
                self._send_all(blob, location, largest)
                return
            except BaseException as error:
                self._give_up(location)
                status = error.status if isinstance(error, RegistryRefusal) else 0
                if status == _TOO_LARGE and largest != _SMALLEST_PIECE:
                    self._largest = _PIECE if largest is None else max(largest // 2, _SMALLEST_PIECE)
                    continue
                pause = self._registry.patience.pause_s(attempt)
                if status not in _UPLOAD_IS_LOST or pause is None:
                    raise
            self._stop.wait(pause)
            if self._registry.blob_size(self._repository, blob.digest) is not None:
                return  # it had been stored, and only the answer was lost
            attempt += 1

    def _send_all(self, blob: BlobFile, location: str, largest: int | None) -> None:
        self._stop.check()
        if blob.size <= min(_IN_ONE_REQUEST, largest or _IN_ONE_REQUEST):
            self._registry.finish_upload(self._repository, location, blob.digest, blob.read(0, blob.size))
        else:
            location = self._append_all(blob, location, largest)
            self._registry.finish_upload(self._repository, location, blob.digest)
        blob.sent(blob.size)

    def _append_all(self, blob: BlobFile, location: str, piece: int | None) -> str:
        """Put the whole blob into the upload, however often it breaks off; the location at which the upload is ended."""
        offset = attempt = 0
        while offset < blob.size:
            self._stop.check()
            try:
                location, offset = self._append(blob, location, offset, piece)
                continue
            except RegistryRefusal as refused:
                # Pieces were repeated already, with pauses; a stream can't be.
                passes = refused.status in PASSING_STATUSES and piece is None
                if not passes and refused.status not in (_UNAUTHORIZED, _WRONG_OFFSET):
                    raise
                failure: NetworkError = refused
            except NetworkError as broken:
                failure = broken
            pause = self._registry.patience.pause_s(attempt)
            if pause is None:
                raise failure
            self._stop.wait(pause)
            location, arrived = self._registry.upload_offset(self._repository, location)
            attempt = attempt + 1 if arrived <= offset else 0
            offset, piece = arrived, piece or _PIECE
            blob.sent(offset)
        return location

    def _append(self, blob: BlobFile, location: str, offset: int, piece: int | None) -> tuple[str, int]:
        if piece is None:
            return self._registry.upload_chunk(self._repository, location, self._stream(blob)), blob.size
        content = blob.read(offset, piece)
        location = self._registry.upload_chunk(self._repository, location, content, offset=offset)
        blob.sent(offset + len(content))
        return location, offset + len(content)

    def _stream(self, blob: BlobFile) -> Iterator[bytes]:
        offset = 0
        while offset < blob.size:
            self._stop.check()
            content = blob.read(offset, _READ)
            yield content
            offset += len(content)
            blob.sent(offset)

    def _give_up(self, location: str) -> None:
        """Let the registry forget what nobody will go on with; unless somebody waits for the end of all this."""
        if not self._stop.is_said:
            self._registry.cancel_upload(self._repository, location)
