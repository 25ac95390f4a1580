"""Layers on their way out: gzip, zstd or plain; the same bytes whenever the same compressor library is asked.

A layer is cut into blocks that are compressed side by side, so one large wheel keeps every core busy. How many cores there are
doesn't show in the result:

- gzip is one member (RFC 1952) with modification time 0, no name and no system. Each block is a deflate stream that knows the
  32 KiB before it and ends on a byte boundary, which is what pigz writes, and podman's pgzip; that costs less than 0.1 % in size.
- zstd is one frame after the other (RFC 8878, section 3), each with its size and checksum.

gzip is made by Intel's ISA-L at its highest level. An image of numpy, scikit-learn and pandas (522 MB) costs, in seconds of
one core and size of the blobs: ISA-L 3: 1.7 s, 194 MB; zlib 2: 4.4 s, 186 MB; zlib 4: 5.8 s, 176 MB; zlib 6: 12.6 s, 170 MB;
zstd 3: 1.4 s, 150 MB. PyTorch's libraries give the same ratios.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from enum import StrEnum
from functools import partial
from typing import BinaryIO

from runtime.oci.digest import Digest
from runtime.oci.image_documents import LAYER, Descriptor

_GZIP_LEVEL = 3
"""ISA-L's, not zlib's."""
_ZSTD_LEVEL = 3
_BLOCK = {"gzip": 1 << 20, "zstd": 4 << 20, "none": 1 << 20}
"""Bytes that are compressed in one piece. They decide about the result, as the levels do."""
_IN_FLIGHT = 48 << 20
"""Bytes that are being compressed or wait to be written, of all layers together."""
_DEFLATE_WINDOW = 32 << 10
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


class Compression(StrEnum):
    """What a layer's blob is."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"

    @property
    def media_type(self) -> str:
        """Of a layer in this form (layer.md, "+gzip Media Types")."""
        return LAYER if self is Compression.NONE else f"{LAYER}+{self}"


def compression_of(media_type: str) -> Compression | None:
    """The compression that a layer's media type means, OCI's or Docker's; None for one that is no layer's."""
    if media_type.endswith((".tar+gzip", ".tar.gzip")):
        return Compression.GZIP
    if media_type.endswith((".tar+zstd", ".tar.zstd")):
        return Compression.ZSTD
    return Compression.NONE if media_type.endswith(".tar") else None


class Compressor:
    """Threads that compress blocks, for any number of layers at a time. Memory is bounded, however many layers there are.

    A context manager: on the way out, blocks that nobody waits for are dropped.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), thread_name_prefix="compress")
        self._room = {name: threading.Semaphore(_IN_FLIGHT // size) for name, size in _BLOCK.items()}

    def compress(self, plain: Iterable[bytes], out: BinaryIO, compression: Compression) -> Descriptor:
        """Write *plain* to *out*; what came out. Called from any number of threads."""
        hasher, size = hashlib.sha256(), 0
        # Closed at once, also by an error: it gives back the room that other layers wait for.
        with closing(self._packed(plain, compression)) as pieces:
            for piece in pieces:
                hasher.update(piece)
                size += len(piece)
                out.write(piece)
        return Descriptor(compression.media_type, Digest(f"sha256:{hasher.hexdigest()}"), size)

    def __enter__(self) -> Compressor:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _packed(self, plain: Iterable[bytes], compression: Compression) -> Generator[bytes, None, None]:
        blocks = _in_blocks(plain, _BLOCK[compression])
        room = self._room[compression]
        if compression is Compression.NONE:
            return blocks
        if compression is Compression.ZSTD:
            return self._results((partial(_zstd_frame, block) for block in blocks), room)
        return self._gzip(blocks, room)

    def _gzip(self, blocks: Iterable[bytes], room: threading.Semaphore) -> Generator[bytes, None, None]:
        crc = size = 0

        def jobs() -> Generator[Callable[[], bytes], None, None]:
            nonlocal crc, size
            before = b""
            for block in blocks:
                crc = zlib.crc32(block, crc)
                size += len(block)
                yield partial(_deflate, block, before)
                before = block[-_DEFLATE_WINDOW:]

        yield _GZIP_HEADER
        yield from self._results(jobs(), room)
        # An empty last block: none of the others knew that it was the last.
        yield zlib.compressobj(wbits=-zlib.MAX_WBITS).flush() + struct.pack("<II", crc, size & 0xFFFFFFFF)

    def _results(self, jobs: Iterable[Callable[[], bytes]], room: threading.Semaphore) -> Generator[bytes, None, None]:
        """What *jobs* return, in their order."""
        running: deque[Future[bytes]] = deque()

        def oldest() -> bytes:
            try:
                return running[0].result()
            finally:
                running.popleft()
                room.release()

        try:
            for job in jobs:
                # Whoever holds a place waits for nothing but its own results, so that places always come free.
                while running and not room.acquire(blocking=False):
                    yield oldest()
                if not running:
                    room.acquire()
                running.append(self._pool.submit(job))
            while running:
                yield oldest()
        finally:
            for left in running:
                left.cancel()
                room.release()


def _in_blocks(chunks: Iterable[bytes], size: int) -> Generator[bytes, None, None]:
    """*chunks* cut and joined into blocks of *size*; the last may be shorter."""
    gathered: list[bytes] = []
    room = size
    for chunk in chunks:
        while len(chunk) >= room:
            yield b"".join((*gathered, chunk[:room]))
            gathered, chunk, room = [], chunk[room:], size
        if chunk:
            gathered.append(chunk)
            room -= len(chunk)
    if gathered:
        yield b"".join(gathered)


def _deflate(block: bytes, before: bytes) -> bytes:
    from isal import isal_zlib

    packer = isal_zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, before)
    packed: bytes = packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed


def _zstd_frame(block: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(block)
