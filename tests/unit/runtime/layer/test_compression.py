"""Compressed layers: recognised by content, refused when damaged."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.errors import BadContent
from runtime.layer.compression import decompressed

CONTENT = b"layer " * 100_000


def read_all(source: io.BufferedIOBase | io.BytesIO) -> bytes:
    pieces = []
    with decompressed(source) as stream:  # type: ignore[arg-type]
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
    with decompressed(io.BytesIO(bomb)) as stream:
        assert 1000 == len(stream.read(1000))
        assert (1 << 20) > len(getattr(stream, "_ready", b""))


@pytest.mark.skipif(shutil.which("zstd") is None, reason="`zstd` is not installed")
def test_zstd_is_read_and_checked(tmp_path: Path) -> None:
    packed = subprocess.run(["zstd", "-qc"], input=CONTENT, capture_output=True, check=True, timeout=20).stdout
    (tmp_path / "whole").write_bytes(packed)
    (tmp_path / "cut").write_bytes(packed[:-5])
    with (tmp_path / "whole").open("rb") as file:
        assert CONTENT == read_all(file)
    with (tmp_path / "cut").open("rb") as file, pytest.raises(BadContent, match="zstd"):
        read_all(file)
