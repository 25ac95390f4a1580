"""Hostile and damaged archives. Each test is named after the attack."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from runtime.errors import BadContent, StoreError
from runtime.layer import tar_format
from runtime.layer.compression import ByteStream, decompress
from runtime.layer.extract import ExtractLimits, extract, extract_recorded
from runtime.layer.tree import Tree

Member = tuple[str, bytes, bytes | str]
"""(name, type, content or link target)"""


def stream_of(*members: Member, **attributes: object) -> io.BytesIO:
    buffer = io.BytesIO()
    for name, kind, rest in members:
        content = rest if isinstance(rest, bytes) else b""
        header = tar_format.Header(
            name.encode(),
            kind,
            0o644,
            size=len(content),
            link=rest.encode() if isinstance(rest, str) else b"",
            **attributes,  # type: ignore[arg-type]
        )
        buffer.write(tar_format.encode(header) + content + tar_format.padding(len(content)))
    buffer.write(tar_format.END)
    buffer.seek(0)
    return buffer


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Tree]:
    (tmp_path / "passwd").write_text("host")
    target = tmp_path / "root"
    target.mkdir()

    def run(stream: ByteStream, limits: ExtractLimits | None = None) -> Tree:
        try:
            return extract(stream, target, limits=limits)
        finally:
            assert {"passwd", "root"} == set(os.listdir(tmp_path)), "something was written beside the root"
            assert (tmp_path / "passwd").read_text() == "host"

    return run


FILE, DIRECTORY, SYMLINK, HARDLINK = tar_format.FILE, tar_format.DIRECTORY, tar_format.SYMLINK, tar_format.HARDLINK


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../passwd", id="straight up"),
        pytest.param("a/../../passwd", id="up from inside"),
        pytest.param("/../passwd", id="absolute with dots"),
        pytest.param("a/..", id="dots at the end"),
    ],
)
def test_path_traversal_is_refused(unpack: Callable[..., Tree], name: str) -> None:
    with pytest.raises(BadContent, match=r"has `\.\.` in its name"):
        unpack(stream_of((name, FILE, b"evil")))


def test_an_absolute_name_lands_inside_the_root(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    unpack(stream_of((f"{tmp_path}/passwd", FILE, b"evil")))
    assert b"evil" == (tmp_path / "root" / str(tmp_path).lstrip("/") / "passwd").read_bytes()


@pytest.mark.parametrize(
    "target", [pytest.param("..", id="relative"), pytest.param("../../../../..", id="far up"), pytest.param("/", id="absolute")]
)
def test_symlink_to_parent_cannot_redirect_a_later_entry(unpack: Callable[..., Tree], tmp_path: Path, target: str) -> None:
    """`link -> ..` followed by `link/passwd` lands inside the root, as if `..` stopped at `/`."""
    tree = unpack(stream_of(("link", SYMLINK, target), ("link/passwd", FILE, b"evil")))

    assert "host" == (tmp_path / "passwd").read_text()
    assert b"evil" == (tmp_path / "root" / "passwd").read_bytes()
    assert ["link", "passwd"] == [entry.path for entry in tree], "the manifest says where it really is"


def test_symlink_to_a_host_directory_cannot_redirect_a_later_entry(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    with pytest.raises(BadContent, match="which is no directory"):
        unpack(stream_of(("link", SYMLINK, str(tmp_path)), ("link/evil", FILE, b"x")))


def test_a_chain_of_symlinks_stays_inside(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    tree = unpack(
        stream_of(("a", DIRECTORY, b""), ("a/up", SYMLINK, "../.."), ("x", SYMLINK, "a/up"), ("x/passwd", FILE, b"evil"))
    )
    assert "passwd" in [entry.path for entry in tree]


def test_a_loop_of_symlinks_is_no_directory(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="no directory"):
        unpack(stream_of(("a", SYMLINK, "b"), ("b", SYMLINK, "a"), ("a/f", FILE, b"x")))


def test_a_file_is_never_written_through_a_symlink_of_the_same_name(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="two entries for `passwd`"):
        unpack(stream_of(("passwd", SYMLINK, "../passwd"), ("passwd", FILE, b"evil")))


def test_a_symlink_cannot_take_the_place_of_a_directory(unpack: Callable[..., Tree]) -> None:
    """CVE-2019-14271's cousins: check a directory, swap it for a link, write below it."""
    with pytest.raises(BadContent, match="two entries"):
        unpack(stream_of(("d", DIRECTORY, b""), ("d", SYMLINK, ".."), ("d/passwd", FILE, b"evil")))


def test_a_link_of_one_name_cannot_alias_another_entry(unpack: Callable[..., Tree]) -> None:
    """`l -> d`, then `d/f` and `l/f`: two names of one path."""
    with pytest.raises(BadContent, match="two entries for `d/f`"):
        unpack(stream_of(("d", DIRECTORY, b""), ("l", SYMLINK, "d"), ("d/f", FILE, b"1"), ("l/f", FILE, b"2")))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("../passwd", id="outside"),
        pytest.param("/etc/passwd", id="absolute, in no layer"),
        pytest.param("link/passwd", id="through a symlink"),
        pytest.param("d", id="to a directory"),
        pytest.param("later", id="to what comes later"),
    ],
)
def test_hardlink_tricks_are_refused(unpack: Callable[..., Tree], target: str) -> None:
    with pytest.raises(BadContent, match=r"no file of this layer|`\.\.`"):
        unpack(stream_of(("d", DIRECTORY, b""), ("link", SYMLINK, ".."), ("h", HARDLINK, target), ("later", FILE, b"x")))


def test_a_hardlink_to_a_symlink_becomes_a_symlink(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    """Followed, it would be a hard link to a file of the host."""
    tree = unpack(stream_of(("s", SYMLINK, "../passwd"), ("h", HARDLINK, "s")))
    assert ["symlink", "symlink"] == [entry.type for entry in tree]
    assert 1 == (tmp_path / "passwd").stat().st_nlink


def test_a_hardlink_cannot_be_written_through(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="two entries"):
        unpack(stream_of(("f", FILE, b"1"), ("h", HARDLINK, "f"), ("h", FILE, b"22")))


@pytest.mark.parametrize("again", ["f", "./f", "/f", "f//"])
def test_duplicate_entries_are_refused(unpack: Callable[..., Tree], again: str) -> None:
    with pytest.raises(BadContent, match="two entries for `f`"):
        unpack(stream_of(("f", FILE, b"first"), (again, FILE, b"last") if not again.endswith("/") else (again, DIRECTORY, b"")))


def test_a_directory_may_come_twice(unpack: Callable[..., Tree]) -> None:
    assert 1 == len(unpack(stream_of(("d", DIRECTORY, b""), ("d/", DIRECTORY, b""))))


def test_a_file_is_no_directory_for_others(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="no directory"):
        unpack(stream_of(("f", FILE, b"x"), ("f/g", FILE, b"y")))


@pytest.mark.parametrize("kept", [100, 512, 700, 1024, 1300])
def test_truncated_streams_are_refused_wherever_they_end(unpack: Callable[..., Tree], kept: int) -> None:
    """1024: between two entries, where Python's tarfile sees a valid end."""
    whole = stream_of(("a", FILE, b"x" * 300), ("b", FILE, b"y" * 300)).getvalue()
    with pytest.raises(BadContent, match="truncated"):
        unpack(io.BytesIO(whole[:kept]))


def test_an_empty_stream_is_no_archive(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="truncated"):
        unpack(io.BytesIO(b""))


def test_a_damaged_header_does_not_end_the_archive_quietly(unpack: Callable[..., Tree]) -> None:
    whole = bytearray(stream_of(("a", FILE, b""), ("b", FILE, b"")).getvalue())
    whole[512 + 3] ^= 1
    with pytest.raises(BadContent, match="checksum"):
        unpack(io.BytesIO(bytes(whole)))


def test_an_archive_behind_the_end_marker_is_refused(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="behind its end marker"):
        unpack(io.BytesIO(stream_of(("a", FILE, b"")).getvalue() + stream_of(("b", FILE, b"")).getvalue()))


def test_a_bomb_of_bytes_stops_before_the_disk_is_full(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    """The header alone says it; nothing of the content is written."""
    header = tar_format.encode(tar_format.Header(b"big", FILE, size=1 << 50))
    with pytest.raises(StoreError, match="layer unpacks to more than fits on the disk"):
        unpack(io.BytesIO(header + b"x" * 4096))
    assert [] == os.listdir(tmp_path / "root")


def test_a_bomb_of_small_files_adds_up(unpack: Callable[..., Tree]) -> None:
    files = [(f"f{number}", FILE, b"x" * 1000) for number in range(10)]
    with pytest.raises(BadContent, match="more than the 5000 bytes"):
        unpack(stream_of(*files), ExtractLimits(content_bytes=5000))


def test_a_bomb_of_entries_is_stopped(unpack: Callable[..., Tree]) -> None:
    entries = [(f"d{number}", DIRECTORY, b"") for number in range(20)]
    with pytest.raises(BadContent, match="more than 10 entries"):
        unpack(stream_of(*entries), ExtractLimits(entries=10))


def test_a_bomb_of_directories_that_come_again_is_stopped(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="more than 10 entries"):
        unpack(stream_of(*[("d", DIRECTORY, b"")] * 20), ExtractLimits(entries=10))


def test_a_bomb_of_long_names_does_not_fill_memory(unpack: Callable[..., Tree]) -> None:
    links: list[Member] = [(f"l{number}", SYMLINK, "x" * 4000) for number in range(10)]
    with pytest.raises(BadContent, match="more than 20000 bytes of names"):
        unpack(stream_of(*links), ExtractLimits(names_bytes=20_000))


def test_a_bomb_of_attributes_does_not_fill_memory(unpack: Callable[..., Tree]) -> None:
    files: list[Member] = [(f"f{number}", FILE, b"") for number in range(10)]
    with pytest.raises(BadContent, match="more than 20000 bytes of names"):
        unpack(stream_of(*files, xattrs=(("user.x", b"x" * 4000),)), ExtractLimits(names_bytes=20_000))


def test_a_bomb_of_extended_headers_is_not_read_into_memory(unpack: Callable[..., Tree]) -> None:
    block = bytearray(tar_format.encode(tar_format.Header(b"x", b"x", size=1 << 33)))
    with pytest.raises(BadContent, match="extended header of 8589934592 bytes"):
        unpack(io.BytesIO(_signed(block[-512:])))


def _signed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[124:136] = (0x80 << 88 | 1 << 33).to_bytes(12, "big")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("record", [b"99 path=a\n", b"5 path=a\n", b"x path=a\n", b"9 path\n\n\n", b"0 a=b\n", b"-9 a=b\n"])
def test_malformed_pax_records_are_refused(unpack: Callable[..., Tree], record: bytes) -> None:
    header = tar_format.encode(tar_format.Header(b"pax", b"x", size=len(record)))
    with pytest.raises(BadContent, match="extended header"):
        unpack(io.BytesIO(header + record + tar_format.padding(len(record)) + stream_of(("f", FILE, b"")).getvalue()))


def test_a_pax_path_cannot_smuggle_dots_or_nul(unpack: Callable[..., Tree]) -> None:
    for name in (b"a" * 120 + b"/../../../passwd", b"a" * 120 + b"\0b"):
        with pytest.raises(BadContent):
            unpack(io.BytesIO(tar_format.encode(tar_format.Header(name, FILE)) + tar_format.END))


def test_content_where_none_belongs_is_refused(unpack: Callable[..., Tree]) -> None:
    """A directory or link with a size: some readers skip the bytes, others read them as entries."""
    inner = stream_of(("evil", FILE, b"")).getvalue()[:512]
    header = tar_format.encode(tar_format.Header(b"d/", DIRECTORY, size=512))
    with pytest.raises(BadContent, match="claims 512 bytes"):
        unpack(io.BytesIO(header + inner + tar_format.END))


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..."])
def test_deletion_marks_that_name_no_file_are_refused(unpack: Callable[..., Tree], name: str) -> None:
    with pytest.raises(BadContent, match="names no file"):
        unpack(stream_of((name, FILE, b"")))


def test_a_deletion_mark_with_content_is_refused(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="not an empty file"):
        unpack(stream_of((".wh.a", FILE, b"x")))


def test_a_layer_cannot_replace_the_root_directory(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="replaces the root"):
        unpack(stream_of((".wh..wh..opq", FILE, b"")))


def test_a_deletion_is_for_the_layers_below_only(unpack: Callable[..., Tree]) -> None:
    tree = unpack(stream_of(("d/", DIRECTORY, b""), (".wh.d", FILE, b""), ("f", FILE, b"new"), (".wh.f", FILE, b"")))
    assert [("d", "dir", True), ("f", "file", False)] == [(entry.path, entry.type, entry.opaque) for entry in tree]


def test_deletion_becomes_overlayfs_whiteout(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    tree = unpack(stream_of(("d/.wh.f", FILE, b"")))
    assert ["dir", "whiteout"] == [entry.type for entry in tree]
    assert (0, True) == ((found := (tmp_path / "root" / "d" / "f").lstat()).st_rdev, found.st_mode & 0o170000 == 0o020000)


def test_a_smuggled_whiteout_device_is_refused(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="0/0 device"):
        unpack(stream_of(("etc", tar_format.CHAR, b"")))


def test_device_nodes_are_recorded_and_never_made(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    tree = unpack(stream_of(("sda", tar_format.BLOCK_DEVICE, b""), device=(8, 0)))
    assert (8, 0) == tree.entries[0].device
    assert [] == os.listdir(tmp_path / "root")


@pytest.mark.parametrize("name", ["trusted.overlay.redirect", "user.overlay.metacopy", "trusted.overlay.opaque"])
def test_overlayfs_marks_cannot_be_smuggled_in(unpack: Callable[..., Tree], name: str) -> None:
    """A redirect would show another file of the lower layers under this name."""
    with pytest.raises(BadContent, match="only overlayfs itself"):
        unpack(stream_of(("f", FILE, b""), xattrs=((name, b"/etc/shadow"),)))


def test_an_owner_beyond_32_bits_is_refused(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="no system can have"):
        unpack(stream_of(("f", FILE, b""), uid=1 << 32))


def test_setuid_files_are_not_made_setuid_while_unpacking(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    header = tar_format.encode(tar_format.Header(b"su", FILE, 0o4755))
    tree = unpack(io.BytesIO(header + tar_format.END))
    assert (0o4755, 0o600) == (tree.entries[0].mode, (tmp_path / "root" / "su").stat().st_mode & 0o7777)


def test_a_layer_that_is_another_than_the_image_says_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "root"
    target.mkdir()
    with pytest.raises(BadContent, match="but the image says"):
        extract_recorded(stream_of(("a", FILE, b"")), target, tmp_path / "stream", diff_id="sha256:" + "0" * 64)


def test_a_flood_of_extended_headers_is_not_read_into_memory(unpack: Callable[..., Tree]) -> None:
    """Each is small enough; there is no end of them before the entry that they are for."""
    record = b"1000 comment=" + b"x" * 986 + b"\n"
    one = tar_format.encode(tar_format.Header(b"pax", b"x", size=len(record))) + record + tar_format.padding(len(record))
    with pytest.raises(BadContent, match="more than 4194304 bytes of extended headers"):
        unpack(io.BytesIO(one * 5000))


def test_a_flood_of_global_headers_is_stopped(unpack: Callable[..., Tree]) -> None:
    one = tar_format.encode(tar_format.Header(b"g", b"g", size=512)) + bytes(512)
    with pytest.raises(BadContent, match="bytes of extended headers"):
        unpack(io.BytesIO(one * 9000))


class Zeros:
    """A stream that doesn't end: what a few kilobytes of gzip can say."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        taken, self._head = self._head[:size], self._head[size:]
        self.read_bytes += size
        return taken or bytes(size)


def test_a_bomb_of_zeros_behind_the_end_marker_is_stopped(unpack: Callable[..., Tree]) -> None:
    bomb = Zeros(stream_of(("a", FILE, b"")).getvalue())
    with pytest.raises(BadContent, match="zeros behind its end marker"):
        unpack(bomb)
    assert bomb.read_bytes < 70 << 20


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_a_compressed_bomb_is_met_by_the_limits_and_not_by_memory(
    unpack: Callable[..., Tree], compress: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """1 GiB of zeros in 1 MiB of gzip, or 32 KiB of zstd."""
    head = tar_format.encode(tar_format.Header(b"big", FILE, size=1 << 30))
    pack = gzip.compress if compress == "gzip" else zstandard.compress
    packed = tmp_path_factory.mktemp("bomb") / "layer"
    packed.write_bytes(pack(head + bytes(256 << 20)))
    tracemalloc.start()
    with packed.open("rb") as file, pytest.raises(BadContent, match="more than the"):
        unpack(decompress(file), ExtractLimits(content_bytes=64 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


def test_a_gnu_long_name_cannot_smuggle_dots(unpack: Callable[..., Tree]) -> None:
    name = b"a/" * 60 + b"../" * 61 + b"passwd"
    extension = (
        tar_format.encode(tar_format.Header(b"././@LongLink", b"L", size=len(name))) + name + tar_format.padding(len(name))
    )
    with pytest.raises(BadContent, match=r"has `\.\.` in its name"):
        unpack(io.BytesIO(extension + stream_of(("a", FILE, b"")).getvalue()))


def test_a_name_in_two_extensions_is_what_pax_says(unpack: Callable[..., Tree]) -> None:
    """As GNU tar and Go read it: one meaning, or an archive would be two."""
    long = tar_format.encode(tar_format.Header(b"././@LongLink", b"L", size=4)) + b"gnu\0" + bytes(508)
    pax = tar_format.encode(tar_format.Header(b"x", b"x", size=12)) + b"12 path=pax\n" + bytes(500)
    tree = unpack(io.BytesIO(long + pax + stream_of(("ustar", FILE, b"")).getvalue()))
    assert ["pax"] == [entry.path for entry in tree]


def test_a_deletion_through_a_link_stays_inside(unpack: Callable[..., Tree], tmp_path: Path) -> None:
    tree = unpack(stream_of(("link", SYMLINK, ".."), ("link/.wh.passwd", FILE, b"")))
    assert [("link", "symlink"), ("passwd", "whiteout")] == [(entry.path, entry.type) for entry in tree]
    assert "host" == (tmp_path / "passwd").read_text()


def test_a_link_cannot_be_used_to_replace_the_root_directory(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="replaces the root"):
        unpack(stream_of(("link", SYMLINK, "/"), ("link/.wh..wh..opq", FILE, b"")))


def test_what_is_no_directory_cannot_be_a_replaced_one(unpack: Callable[..., Tree]) -> None:
    with pytest.raises(BadContent, match="no directory"):
        unpack(stream_of(("f", FILE, b""), ("f/.wh..wh..opq", FILE, b"")))


@pytest.mark.parametrize("target", ["", "a" * 101 + "\0b", "x" * 4096])
def test_symlinks_that_no_kernel_makes_are_refused(unpack: Callable[..., Tree], target: str) -> None:
    with pytest.raises(BadContent, match="impossible target"):
        unpack(stream_of(("link", SYMLINK, target)))


@pytest.mark.parametrize("name", ["a" * 256, "d/" + "a" * 300, "a/" * 2048 + "b"])
def test_names_that_no_kernel_makes_are_refused(unpack: Callable[..., Tree], name: str) -> None:
    with pytest.raises(BadContent, match=r"more than 255 bytes|impossible name"):
        unpack(stream_of((name, FILE, b"")))


def test_the_root_directory_cannot_become_a_file(unpack: Callable[..., Tree]) -> None:
    for name in ("./", ".", "/", "//."):
        with pytest.raises(BadContent, match="root directory is not a directory"):
            unpack(stream_of((name, SYMLINK, "/tmp")))


@pytest.mark.parametrize("kind", [b"V", b"M", b"D", b"N", b"A", b"\xff"])
def test_types_that_readers_disagree_about_are_refused(unpack: Callable[..., Tree], kind: bytes) -> None:
    with pytest.raises(BadContent, match="unknown type"):
        unpack(stream_of(("f", kind, b"")))


def test_a_negative_owner_is_refused(unpack: Callable[..., Tree]) -> None:
    block = bytearray(tar_format.encode(tar_format.Header(b"f", FILE)))
    block[108:116] = (-1).to_bytes(8, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(BadContent, match="negative uid"):
        unpack(io.BytesIO(bytes(block) + tar_format.END))


def test_nobody_of_minus_one_is_refused(unpack: Callable[..., Tree]) -> None:
    """chown(2) takes it for \"leave the owner alone\": the file would stay root's."""
    with pytest.raises(BadContent, match="no system can have"):
        unpack(stream_of(("f", FILE, b""), uid=(1 << 32) - 1))


def test_a_full_disk_is_the_stores_error_and_not_the_images(tmp_path: Path) -> None:
    spare = 1 << 62
    with pytest.raises(StoreError, match="fits on the disk"):
        extract(stream_of(("f", FILE, b"x")), tmp_path, limits=ExtractLimits(spare_bytes=spare))


def test_a_sparse_file_that_is_larger_than_the_disk_is_refused_before_its_holes_are_hashed(tmp_path: Path) -> None:
    """A tar of 3 KB that says it is a file of a terabyte: a quarter of an hour of zeros."""
    size = 2 * shutil.disk_usage(tmp_path).total
    named = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size), "GNU.sparse.name": "f"}
    header = tarfile.TarInfo("GNUSparseFile.0/f")
    header.pax_headers, header.size = named, tar_format.BLOCK
    stream = header.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(tar_format.BLOCK, b"\0") + tar_format.END
    begun = time.process_time()
    with pytest.raises(BadContent, match="layer unpacks to more than"):
        extract(io.BytesIO(stream), tmp_path)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("cut", range(1, 1400, 97))
def test_a_stream_that_breaks_off_leaves_no_thread(tmp_path: Path, cut: int) -> None:
    whole = stream_of(("a", FILE, b"x" * 300), ("b", FILE, b"y" * 300)).getvalue()
    target = tmp_path / "root"
    target.mkdir()
    with pytest.raises(BadContent):
        extract_recorded(io.BytesIO(whole[:cut]), target, tmp_path / "stream", diff_id="sha256:" + "0" * 64)
    assert [] == [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"]
