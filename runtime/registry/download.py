"""A blob as a stream that can break: continued where it broke off, and checked against digest and size at its end.

Nothing is kept on disk: a layer is unpacked while it arrives, so that a pull costs no second copy and no second reading.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from runtime.errors import BadContent, NetworkError, error_words
from runtime.http.connections import Answer
from runtime.oci.image_documents import DOCUMENT_LIMIT, Descriptor
from runtime.registry.client import Registry

_BLOCK = 1 << 18


class BlobStream:
    """A blob of *registry* as a readable file, at its beginning.

    Whoever reads to the end has had the right bytes: `read` raises BadContent there instead of returning nothing. `finish` reads
    what is left.
    """

    def __init__(
        self,
        registry: Registry,
        repository: str,
        descriptor: Descriptor,
        *,
        arrived: Callable[[int], None] | None = None,
    ) -> None:
        """*arrived* is told of each piece's size."""
        self._registry = registry
        self._repository = repository
        self._descriptor = descriptor
        self._arrived = arrived
        self._answer: Answer | None = None
        self._hash = hashlib.sha256()
        self._received = 0
        self._checked = False
        self._failures = 0
        self._broke_at = 0

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self._next(_BLOCK), b""))
        return self._next(size) if size else b""

    def finish(self) -> None:
        """Read and check what nobody has read."""
        while self._next(_BLOCK):
            pass

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _next(self, size: int) -> bytes:
        """Some bytes more; empty at the end, which has been checked then."""
        data = self._piece(size)
        if not data:
            self._check()
            return b""
        self._received += len(data)
        if self._received > self._descriptor.size:
            self.close()
            raise self._bad(f"is larger than the {self._descriptor.size} bytes that its manifest names")
        self._hash.update(data)
        if self._arrived is not None:
            self._arrived(len(data))
        if self._received == self._descriptor.size:
            self._check()
        return data

    def _piece(self, size: int) -> bytes:
        """As the connection gives it, over as many connections as it takes."""
        while not self._checked:
            try:
                if self._answer is None:
                    self._answer = self._opened()
                data = self._answer.read(size)
            except OSError as error:
                self._broken(error)
                continue
            if not data and self._received < self._descriptor.size and self._answer.length is None:
                # Without a length, an end that comes too early is a broken connection.
                self._broken(ConnectionResetError(f"the connection ended {self._descriptor.size - self._received} bytes early"))
                continue
            return data
        return b""

    def _opened(self) -> Answer:
        answer = self._registry.open_blob(self._repository, self._descriptor.digest, offset=self._received)
        if self._received and answer.status == 200:
            self._skip(answer, self._received)
        elif not self._received and answer.length not in (None, self._descriptor.size):
            answer.close()
            raise self._bad(f"has {answer.length} bytes at the registry, its manifest names {self._descriptor.size}")
        return answer

    def _skip(self, answer: Answer, size: int) -> None:
        """Read again what has arrived already, from a registry that begins at the beginning. It must be the same."""
        seen = hashlib.sha256()
        while size and (data := answer.read(min(size, _BLOCK))):
            size -= len(data)
            seen.update(data)
        if size or seen.digest() != self._hash.digest():
            answer.close()
            raise self._bad("has changed while it was fetched")

    def _broken(self, error: Exception) -> None:
        self.close()
        # Only progress that is worth a connection starts the count anew, or a server could keep us here for ever.
        if self._received - self._broke_at >= _BLOCK:
            self._failures = 0
        self._broke_at = self._received
        pause = self._registry.patience.pause_s(self._failures)
        if pause is None:
            raise NetworkError(
                f"registry `{self._registry.host}`: blob `{self._descriptor.digest}` of `{self._repository}` breaks off after "
                f"{self._received} of {self._descriptor.size} bytes, also when it is continued: {error_words(error)}"
            ) from error
        self._failures += 1
        time.sleep(pause)

    def _check(self) -> None:
        if self._checked:
            return
        found = f"sha256:{self._hash.hexdigest()}"
        if self._received != self._descriptor.size:
            raise self._bad(f"has {self._received} bytes, its manifest names {self._descriptor.size}")
        if found != self._descriptor.digest:
            raise self._bad(f"has digest `{found}`")
        if self._answer is not None:
            self._answer.discard()
        self._answer = None
        self._checked = True

    def _bad(self, why: str) -> BadContent:
        return BadContent(f"registry `{self._registry.host}`: blob `{self._descriptor.digest}` of `{self._repository}` {why}")


def fetch_document(registry: Registry, repository: str, descriptor: Descriptor) -> bytes:
    """A small blob, such as an image configuration. Raises BadContent when it is not what *descriptor* says."""
    if descriptor.size > DOCUMENT_LIMIT:
        raise BadContent(f"blob `{descriptor.digest}` has {descriptor.size} bytes: more than {DOCUMENT_LIMIT} is not taken")
    stream = BlobStream(registry, repository, descriptor)
    try:
        return stream.read()
    finally:
        stream.close()
