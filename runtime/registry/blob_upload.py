"""One blob into a repository: in one piece where that works, and on from where a broken connection left it.

A small blob goes with the request that ends its upload (distribution-spec, "POST then PUT"). A large one is streamed with one
PATCH, as Docker does it: every registry takes that, also those that take no chunks. After a break the registry is asked how much
it has, and the rest follows in pieces with `Content-Range`, so that the next break costs one piece. Pieces are also what is sent
to a registry, or the proxy in front of it, that finds a request too large (413).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from runtime.errors import NetworkError
from runtime.oci.digest import Digest
from runtime.registry.client import Registry
from runtime.registry.refusals import RegistryRefusal
from runtime.registry.retries import PASSING_STATUSES, Patience
from runtime.registry.side_by_side import Stop

IN_ONE_REQUEST = 4 << 20
_PIECE = 8 << 20
_SMALLEST_PIECE = 1 << 20
_READ = 1 << 18
_TOO_LARGE = 413
_UPLOADS = 3
_UPLOAD_IS_LOST = (400, 404, 409, 416)
"""The registry doesn't know the upload, or doesn't agree about how far it is: begin another one."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A blob's content. *file* is read with pread: it may be a temporary one without a name."""

    file: BinaryIO
    digest: Digest
    size: int

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.file.fileno(), min(size, self.size - offset), offset)


class BlobUpload:
    """The upload of *blob*. *sent* is told how much of it has gone."""

    def __init__(
        self, registry: Registry, repository: str, blob: BlobFile, *, stop: Stop, sent: Callable[[int], None], patience: Patience
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._blob = blob
        self._stop = stop
        self._sent = sent
        self._patience = patience
        self._piece = 0
        """Size of a request's body; 0: as large as the blob."""

    def run(self) -> None:
        """Send it. Raises NetworkError when patience ended, RegistryRefusal when the registry doesn't want it."""
        for attempt in range(_UPLOADS):
            location = self._registry.start_upload(self._repository)
            try:
                self._send_all(location)
                return
            except BaseException as error:
                self._give_up(location)
                is_lost = isinstance(error, RegistryRefusal) and error.status in _UPLOAD_IS_LOST
                if not is_lost or attempt + 1 == _UPLOADS:
                    raise
            self._stop.wait(self._patience.pause_s(attempt) or 0)
            if self._registry.blob_size(self._repository, self._blob.digest) is not None:
                return  # it had been stored, and only the answer was lost

    def _send_all(self, location: str) -> None:
        if self._blob.size <= IN_ONE_REQUEST and not self._piece:
            self._stop.check()
            content = self._blob.read(0, self._blob.size)
            self._registry.finish_upload(self._repository, location, self._blob.digest, content)
        else:
            location = self._append(location)
            self._registry.finish_upload(self._repository, location, self._blob.digest)
        self._sent(self._blob.size)

    def _append(self, location: str) -> str:
        """Send the whole blob into the upload, however often it breaks off; the location with which the upload ends."""
        offset = attempt = 0
        while offset < self._blob.size:
            self._stop.check()
            try:
                location, offset = self._append_once(location, offset)
                continue
            except RegistryRefusal as refused:
                if refused.status == _TOO_LARGE and self._piece != _SMALLEST_PIECE:
                    self._piece = max(self._piece // 2, _SMALLEST_PIECE) if self._piece else _PIECE
                elif refused.status not in (401, *PASSING_STATUSES) or (self._piece and refused.status != 401):
                    raise  # pieces were repeated already, with pauses
                failure: NetworkError = refused
            except NetworkError as broken:
                failure = broken
            pause = self._patience.pause_s(attempt)
            if pause is None:
                raise failure
            self._stop.wait(pause)
            location, arrived = self._registry.upload_offset(self._repository, location)
            attempt = attempt + 1 if arrived <= offset else 0
            self._piece = self._piece or _PIECE
            offset = arrived
            self._sent(offset)
        return location

    def _append_once(self, location: str, offset: int) -> tuple[str, int]:
        if not self._piece:
            return self._registry.upload_chunk(self._repository, location, self._stream(offset)), self._blob.size
        content = self._blob.read(offset, self._piece)
        location = self._registry.upload_chunk(self._repository, location, content, offset=offset)
        self._sent(offset + len(content))
        return location, offset + len(content)

    def _stream(self, offset: int) -> Iterator[bytes]:
        while offset < self._blob.size:
            self._stop.check()
            content = self._blob.read(offset, _READ)
            yield content
            offset += len(content)
            self._sent(offset)

    def _give_up(self, location: str) -> None:
        try:
            self._stop.check()
        except Exception:
            return  # whoever waits doesn't wait for this
        try:
            self._registry.cancel_upload(self._repository, location)
        except NetworkError:
            return
