"""What is compressed comes out the same everywhere, and every other tool reads it."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from runtime.errors import StoreError
from runtime.oci.image_documents import Descriptor
from runtime.registry.compress import Compression, Compressor, compression_of

MIB = 1 << 20


def _content(size: int, seed: int = 1) -> bytes:
    """Half noise, half repetition: neither trivial to compress nor impossible."""
    noise = random.Random(seed)
    kibibytes = [noise.randbytes(512) + bytes([noise.randrange(256)]) * 512 for _ in range(size // 1024)]
    return b"".join(kibibytes) + b"x" * (size % 1024)


def _compress(content: bytes, how: Compression, *, threads: int = 2, step: int = 70_001) -> tuple[Descriptor, bytes]:
    out = io.BytesIO()
    with Compressor(threads=threads) as compressor:
        told = compressor.compress((content[at : at + step] for at in range(0, len(content), step)), out, how)
    return told, out.getvalue()


@pytest.mark.parametrize("how", list(Compression))
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 4 * MIB, 9 * MIB + 5])
def test_what_comes_out_is_what_went_in(how: Compression, size: int) -> None:
    content = _content(size)
    told, packed = _compress(content, how)
    plain = {
        Compression.GZIP: gzip.decompress,
        Compression.ZSTD: lambda data: zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read(),
        Compression.NONE: bytes,
    }[how](packed)
    assert plain == content
    assert (told.digest.hex, told.size) == (hashlib.sha256(packed).hexdigest(), len(packed))


@pytest.mark.parametrize("how", list(Compression))
def test_neither_the_number_of_threads_nor_the_pieces_of_the_stream_show(how: Compression) -> None:
    content = _content(11 * MIB + 77)
    results = {_compress(content, how, threads=threads, step=step)[1] for threads, step in ((1, 333), (2, 5 * MIB), (7, MIB))}
    assert len(results) == 1


def test_a_gzip_blob_says_nothing_about_when_and_where_it_was_made() -> None:
    _, packed = _compress(b"content", Compression.GZIP)
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_a_gzip_blob_is_one_member() -> None:
    """Readers exist that stop after the first."""
    content = _content(3 * MIB)
    _, packed = _compress(content, Compression.GZIP)
    reader = zlib.decompressobj(wbits=31)
    assert (reader.decompress(packed), reader.eof, reader.unused_data) == (content, True, b"")


def test_blocks_cost_next_to_nothing() -> None:
    content = _content(8 * MIB)
    whole = len(zlib.compress(content, 4))
    assert _compress(content, Compression.GZIP)[0].size <= whole * 1.005


@pytest.mark.requires("gzip", "zstd")
@pytest.mark.parametrize("how", [Compression.GZIP, Compression.ZSTD])
def test_the_programs_gzip_and_zstd_read_it(how: Compression) -> None:
    content = _content(9 * MIB)
    done = subprocess.run([how.value, "-dc"], input=_compress(content, how)[1], capture_output=True, check=True)
    assert done.stdout == content


def test_several_layers_share_the_threads_and_the_room() -> None:
    contents = [_content(6 * MIB, seed) for seed in range(6)]
    out = [io.BytesIO() for _ in contents]
    with Compressor(threads=2) as compressor:
        threads = [
            threading.Thread(target=compressor.compress, args=([content], file, Compression.ZSTD))
            for content, file in zip(contents, out, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [file.getvalue() for file in out] == [_compress(content, Compression.ZSTD)[1] for content in contents]


def test_a_layer_that_fails_gives_its_room_back() -> None:
    def breaks_off() -> Iterator[bytes]:
        yield _content(40 * MIB)
        raise StoreError("file went away")

    with Compressor(threads=1) as compressor:
        errors = []
        for _ in range(4):
            with pytest.raises(StoreError) as caught:
                compressor.compress(breaks_off(), io.BytesIO(), Compression.GZIP)
            errors.append(caught)  # whoever keeps the error keeps its frames
        compressor.compress([_content(60 * MIB)], io.BytesIO(), Compression.GZIP)


def test_a_disk_that_is_slow_to_write_doesn_t_pile_up_memory() -> None:
    read = most_waiting = 0

    class SlowDisk(io.BytesIO):
        written = 0

        def write(self, data: object) -> int:
            nonlocal most_waiting
            time.sleep(0.001)
            self.written += 1
            most_waiting = max(most_waiting, read - self.written)
            return 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(200):
            read += 1
            yield bytes(MIB)

    with Compressor(threads=2) as compressor:
        compressor.compress(endless(), SlowDisk(), Compression.GZIP)
    assert (read, most_waiting <= 50) == (200, True)


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        ("application/vnd.oci.image.layer.v1.tar", Compression.NONE),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression.GZIP),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression.ZSTD),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression.GZIP),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression.GZIP),
        ("application/vnd.docker.image.rootfs.diff.tar", Compression.NONE),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression.GZIP),
        ("application/vnd.oci.empty.v1+json", None),
    ],
)
def test_the_compression_is_read_from_media_types_of_docker_and_oci(media_type: str, compression: Compression | None) -> None:
    assert compression_of(media_type) is compression
