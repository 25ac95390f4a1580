"""A stream read in a thread of its own, a few pieces ahead, and hashed there: decompressing and hashing leave the interpreter
free (zlib, hashlib and zstd release its lock), so they cost the reader next to nothing on a second processor."""

from __future__ import annotations

import hashlib
import queue
import threading
from types import TracebackType

from runtime.layer.compression import ByteStream

PIECE = 1 << 18
_PIECES_AHEAD = 8


class ReadAhead:
    """*stream* in pieces. To be used in a `with`; the thread has ended when that ends."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._ready: queue.Queue[bytes | BaseException] = queue.Queue(_PIECES_AHEAD)
        self._stop = threading.Event()
        self._hasher = hashlib.sha256()
        self._size = 0
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop.set()
        while self._thread.is_alive():
            # The thread may wait for room in the queue.
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(0.01)

    def read(self, size: int = PIECE, /) -> bytes:
        """The next piece, whatever its *size*; empty at the end. Raises what reading raised."""
        if self._ended:
            return b""
        piece = self._ready.get()
        if isinstance(piece, BaseException):
            self._ended = True
            raise piece
        self._ended = not piece
        return piece

    @property
    def digest(self) -> str:
        """Of the whole stream; to be asked for when it was read to its end."""
        assert self._ended
        return f"sha256:{self._hasher.hexdigest()}"

    @property
    def size(self) -> int:
        return self._size

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                piece = self._stream.read(PIECE)
                self._hasher.update(piece)
                self._size += len(piece)
                self._ready.put(piece)
                if not piece:
                    return
        except BaseException as error:
            self._ready.put(error)
