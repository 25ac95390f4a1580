"""A stream that was unpacked comes back byte for byte; sparse files among it, and whatever other tools write."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import BadContent, StoreError
from runtime.layer import tar_format
from runtime.layer.archive import TreeDigest
from runtime.layer.extract import extract, extract_recorded
from runtime.layer.stream_record import replay
from runtime.layer.tar_reader import read_header


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def unpack(stream: bytes, at: Path) -> TreeDigest:
    at.mkdir(exist_ok=True)
    (at / "root").mkdir()
    return extract_recorded(io.BytesIO(stream), at / "root", at / "stream", diff_id=digest(stream))


def again(at: Path) -> bytes:
    return b"".join(replay(at / "stream", at / "root"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all sizes around a block, names of all lengths, links."""
    root = tmp_path / "tree"
    (root / "d" / ("long " + "n" * 150)).mkdir(parents=True)
    for size in (0, 1, 511, 512, 513, 70_000, 600_000):
        (root / "d" / f"f{size}").write_bytes(random.Random(size).randbytes(size))
    (root / "d" / ("long " + "n" * 150) / "ü").write_text("deep")
    os.link(root / "d" / "f513", root / "a hard link")
    os.symlink("t" * 120, root / "symlink")
    os.mkfifo(root / "fifo")
    return root


def gnu_tar(tree: Path, *options: str) -> bytes:
    done = subprocess.run(["tar", "-C", tree, *options, "-cf", "-", "."], capture_output=True, check=True, timeout=30)
    return done.stdout


@pytest.mark.requires("tar")
@pytest.mark.parametrize("options", [("--format=gnu",), ("--format=posix",), ("--format=pax", "--numeric-owner", "-b", "200")])
def test_what_gnu_tar_wrote_comes_back_byte_for_byte(tree: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    stream = gnu_tar(tree, *options)
    extracted = unpack(stream, tmp_path / "layer")
    assert (len(stream), digest(stream)) == (extracted.size_bytes, extracted.diff_id)
    assert stream == again(tmp_path / "layer")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_wrote_comes_back_byte_for_byte(tree: Path, tmp_path: Path, form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.add(tree, ".")
    unpack(buffer.getvalue(), tmp_path / "layer")
    assert buffer.getvalue() == again(tmp_path / "layer")


def test_deletions_devices_and_global_headers_come_back(tmp_path: Path) -> None:
    headers = [
        tar_format.Header(b"d/", tar_format.DIRECTORY, 0o755),
        tar_format.Header(b"d/.wh..wh..opq", tar_format.FILE),
        tar_format.Header(b"d/.wh.gone", tar_format.FILE),
        tar_format.Header(b"sda", tar_format.BLOCK_DEVICE, device=(8, 0)),
        tar_format.Header(b"big id", tar_format.FILE, 0o4755, 3_000_000, 2**31, xattrs=(("security.capability", b"\1\0\0\2"),)),
        tar_format.Header(b"g", b"g"),
    ]
    stream = b"".join(map(tar_format.encode, headers)) + tar_format.END + bytes(8192)
    unpack(stream, tmp_path / "layer")
    assert stream == again(tmp_path / "layer")


def test_headers_that_nobody_would_write_today_come_back(tmp_path: Path) -> None:
    """Spaces for zeros, an old magic, junk behind the names' NUL: the record has the bytes, not their meaning."""
    block = bytearray(tar_format.encode(tar_format.Header(b"f", tar_format.FILE, 0o644, size=3)))
    block[2:20] = b"behind the NUL    "
    block[108:116] = b"     0 \0"
    block[257:265] = b"ustar  \0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    stream = bytes(block) + b"abc" + b"\xff" * 509 + tar_format.END
    assert ["f"] == [entry.path for entry in unpack(stream, tmp_path / "layer").tree]
    assert stream == again(tmp_path / "layer"), "what fills up the last block is anything"


SPARSE = [
    pytest.param(("--format=gnu",), id="old GNU"),
    pytest.param(("--format=posix", "--sparse-version=0.0"), id="PAX 0.0"),
    pytest.param(("--format=posix", "--sparse-version=0.1"), id="PAX 0.1"),
    pytest.param(("--format=posix", "--sparse-version=1.0"), id="PAX 1.0"),
]


def sparse_file(path: Path, *, parts: int, size: int) -> bytes:
    """Write and return a file of *size* bytes with *parts* pieces of data in it."""
    with path.open("wb") as file:
        for number in range(parts):
            file.seek(number * (size // parts))
            file.write(random.Random(number).randbytes(5000))
        file.truncate(size)
    return path.read_bytes()


@pytest.mark.requires("tar")
@pytest.mark.parametrize("options", SPARSE)
@pytest.mark.parametrize("parts", [0, 1, 3, 40])
def test_a_sparse_file_is_read_in_every_form(tmp_path: Path, options: tuple[str, ...], parts: int) -> None:
    """40: more than fit into an old GNU header and one block behind it."""
    (tmp_path / "tree").mkdir()
    content = sparse_file(tmp_path / "tree" / "a sparse file", parts=parts, size=4 << 20)
    (tmp_path / "tree" / "z behind it").write_text("after")
    stream = gnu_tar(tmp_path / "tree", "--sparse", *options)
    assert len(stream) < len(content), "tar wrote it sparse"

    extracted = unpack(stream, tmp_path / "layer")

    file = tmp_path / "layer" / "root" / "a sparse file"
    assert content == file.read_bytes()
    assert file.stat().st_blocks * 512 < len(content), "and it takes no more here"
    entry = next(entry for entry in extracted.tree if entry.path == "a sparse file")
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size, entry.sha256)
    assert "after" == (tmp_path / "layer" / "root" / "z behind it").read_text()
    assert stream == again(tmp_path / "layer")


def pax_entry(records: dict[str, str], size: int, content: bytes = b"") -> bytes:
    body = b"".join(_record(*record) for record in records.items())
    extension = tar_format.encode(tar_format.Header(b"pax", b"x", size=len(body))) + body + tar_format.padding(len(body))
    return (
        extension + tar_format.encode(tar_format.Header(b"f", tar_format.FILE, size=size)) + content + bytes(-len(content) % 512)
    )


def _record(keyword: str, value: str) -> bytes:
    text = f" {keyword}={value}\n"
    length = len(text) + len(str(len(text)))
    return f"{len(text) + len(str(length))}{text}".encode()


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        pytest.param({"map": "0,600,100,10", "size": "1000"}, "overlap", id="overlapping"),
        pytest.param({"map": "500,10,0,10", "size": "1000"}, "overlap", id="descending"),
        pytest.param({"map": "0,610", "size": "600"}, "outside", id="beyond the end"),
        pytest.param({"map": "0,10", "size": "1000"}, "not the 610 bytes", id="less than is stored"),
        pytest.param({"map": "0,610,1", "size": "1000"}, "half a map", id="half a map"),
        pytest.param({"map": "0,-1", "size": "1000"}, "malformed number", id="negative"),
        pytest.param({"map": "0,610"}, "malformed number", id="no size"),
        pytest.param({"major": "2", "minor": "0"}, "unknown form", id="of the future"),
        pytest.param({"major": "1", "minor": "0", "realsize": "1000"}, "map doesn't end", id="1.0 without a map"),
    ],
)
def test_sparse_maps_that_lie_are_refused(tmp_path: Path, records: dict[str, str], complaint: str) -> None:
    named = {f"GNU.sparse.{keyword}": value for keyword, value in records.items()}
    with pytest.raises(BadContent, match=complaint):
        extract(io.BytesIO(pax_entry(named, 610, b"x" * 610) + tar_format.END), tmp_path)


def test_a_sparse_map_without_end_is_refused(tmp_path: Path) -> None:
    named = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000"}
    with pytest.raises(BadContent, match="map doesn't end"):
        extract(io.BytesIO(pax_entry(named, 1024, b"9" * 1024) + tar_format.END), tmp_path)
    with pytest.raises(BadContent, match="more than 100000 parts"):
        extract(io.BytesIO(pax_entry(named, 512, b"99999999\n".ljust(512, b"\0")) + tar_format.END), tmp_path)


def test_a_sparse_bomb_is_stopped_by_its_size_not_by_what_it_stores(tmp_path: Path) -> None:
    named = {"GNU.sparse.map": "0,3", "GNU.sparse.size": str(1 << 50)}
    with pytest.raises(BadContent, match=r"more than the \d+ bytes"):
        extract(io.BytesIO(pax_entry(named, 3, b"abc") + tar_format.END), tmp_path)
    assert [] == os.listdir(tmp_path)


def test_who_cannot_take_sparse_files_gets_none() -> None:
    stream = io.BytesIO(pax_entry({"GNU.sparse.map": "0,3", "GNU.sparse.size": "9"}, 3, b"abc"))
    with pytest.raises(BadContent, match="holds a sparse file"):
        read_header(stream.read)


def damaged_record(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(at: Path) -> None:
        (at / "stream").write_bytes(change((at / "stream").read_bytes()))

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damaged_record(lambda record: record[:-3]), id="record cut off"),
        pytest.param(damaged_record(lambda record: record[: len(record) // 2]), id="half a record"),
        pytest.param(damaged_record(lambda record: record + b"more"), id="record goes on"),
        pytest.param(damaged_record(lambda record: b""), id="empty record"),
        pytest.param(damaged_record(lambda record: record[:40] + bytes([record[40] ^ 8]) + record[41:]), id="a flipped bit"),
        pytest.param(lambda at: (at / "stream").unlink(), id="no record"),
        pytest.param(lambda at: (at / "root/d/f513").write_bytes(b"short"), id="file cut off"),
        pytest.param(lambda at: (at / "root/d/f513").write_bytes(bytes(600)), id="file grown"),
        pytest.param(lambda at: (at / "root/d/f70000").unlink(), id="file gone"),
        pytest.param(lambda at: ((at / "root/d/f70000").unlink(), os.symlink("f512", at / "root/d/f70000")), id="file a link"),
    ],
)
@pytest.mark.requires("tar")
def test_a_damaged_layer_gives_no_stream(tree: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    unpack(gnu_tar(tree), tmp_path / "layer")
    damage(tmp_path / "layer")
    with pytest.raises(StoreError):
        again(tmp_path / "layer")
