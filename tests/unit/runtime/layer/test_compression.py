"""Compressed layers: recognised by content, refused when damaged."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard

from runtime.errors import BadContent
from runtime.layer.compression import decompress

CONTENT = b"layer " * 100_000


def read_all(source: io.BufferedIOBase | io.BytesIO) -> bytes:
    pieces = []
    stream = decompress(source)  # type: ignore[arg-type]
    while piece := stream.read(10_000):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(CONTENT, id="none"),
        pytest.param(gzip.compress(CONTENT), id="gzip"),
        pytest.param(gzip.compress(CONTENT[:100]) + gzip.compress(CONTENT[100:]), id="gzip members"),
        pytest.param(gzip.compress(CONTENT) + bytes(700), id="gzip padded with zeros"),
    ],
)
def test_content_comes_out_whatever_it_was_packed_with(packed: bytes) -> None:
    assert CONTENT == read_all(io.BytesIO(packed))


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(CONTENT)[:-1], id="truncated in the trailer"),
        pytest.param(gzip.compress(CONTENT)[:200], id="truncated in the middle"),
        pytest.param(gzip.compress(CONTENT) + b"more", id="something behind it"),
        pytest.param(gzip.compress(CONTENT) + bytes(700) + b"more", id="something behind the zeros"),
        pytest.param(gzip.compress(CONTENT)[:100] + b"\xff" * 50 + gzip.compress(CONTENT)[150:], id="damaged"),
    ],
)
def test_a_damaged_gzip_stream_is_refused(packed: bytes) -> None:
    with pytest.raises(BadContent, match="gzip"):
        read_all(io.BytesIO(packed))


def test_a_bomb_is_unpacked_only_as_far_as_it_is_read() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    stream = decompress(io.BytesIO(bomb))
    assert 1000 == len(stream.read(1000))
    assert (1 << 20) > len(getattr(stream, "_ready", b""))


def test_zstd_is_read_and_checked() -> None:
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)
    assert CONTENT == read_all(io.BytesIO(packed))
    with pytest.raises(BadContent, match="zstd"):
        read_all(io.BytesIO(packed[:-5]))
