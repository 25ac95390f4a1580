"""What honest layers have and few expect: it is kept as it is. Each test is named after the oddity."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from runtime.layer import tar_format
from runtime.layer.extract import extract, extract_recorded
from runtime.layer.tree import TreeEntry
from runtime.oci.digest import digest_bytes
from runtime.store.layer_files import settle, settle_new_file


def unpacked(target: Path, *headers: tar_format.Header) -> list[TreeEntry]:
    stream = b"".join(tar_format.encode(header) + bytes(-header.size % 512 + header.size) for header in headers) + tar_format.END
    return list(extract(io.BytesIO(stream), target).entries)


def settled(target: Path, *headers: tar_format.Header) -> list[TreeEntry]:
    """As the import of a layer does it: files are settled as they are written, the rest at the end."""
    stream = b"".join(tar_format.encode(header) + bytes(-header.size % 512 + header.size) for header in headers) + tar_format.END
    (target / "root").mkdir()
    done = extract_recorded(
        io.BytesIO(stream), target / "root", target / "stream", diff_id=digest_bytes(stream), file_done=settle_new_file
    )
    settle(target / "root", done.tree, files_are_settled=True)
    return list(done.tree.entries)


@pytest.mark.parametrize("mode", [0, 0o1, 0o111, 0o4755, 0o2711, 0o1777, 0o7777])
def test_odd_modes(tmp_path: Path, mode: int) -> None:
    entries = settled(
        tmp_path, tar_format.Header(b"f", tar_format.FILE, mode), tar_format.Header(b"d/", tar_format.DIRECTORY, mode)
    )
    assert [("d", mode), ("f", mode)] == [(entry.path, entry.mode) for entry in entries]
    if os.geteuid() == 0:
        assert [mode, mode] == [stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) for name in "df"]


@pytest.mark.parametrize(("uid", "gid"), [(65_534, 65_535), (65_536, 70_000), (2_097_151, 2_097_152), (2**31, 2**32 - 2)])
def test_owners_beyond_65536(tmp_path: Path, uid: int, gid: int) -> None:
    entries = settled(tmp_path, tar_format.Header(b"f", tar_format.FILE, 0o4755, uid, gid))
    assert (uid, gid) == (entries[0].uid, entries[0].gid)
    if os.geteuid() == 0:
        found = (tmp_path / "root/f").stat()
        assert (uid, gid, 0o4755) == (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)), (
            "chown clears setuid; it came last"
        )


def test_a_capability_of_a_file(tmp_path: Path) -> None:
    value = bytes.fromhex("0000000200040000000000000000000000000000")
    entries = settled(tmp_path, tar_format.Header(b"ping", tar_format.FILE, 0o755, xattrs=(("security.capability", value),)))
    assert (("security.capability", value),) == entries[0].xattrs
    if os.geteuid() == 0:
        assert value == os.getxattr(tmp_path / "root/ping", "security.capability")


def test_xattrs_of_the_builders_machine_are_left_behind(tmp_path: Path) -> None:
    header = tar_format.Header(b"f", tar_format.FILE, xattrs=(("security.selinux", b"x"), ("system.posix_acl_access", b"x")))
    assert () == unpacked(tmp_path, header)[0].xattrs


def test_fifos_and_devices(tmp_path: Path) -> None:
    entries = unpacked(
        tmp_path,
        tar_format.Header(b"fifo", tar_format.FIFO, 0o620),
        tar_format.Header(b"null", tar_format.CHAR, 0o666, device=(1, 3)),
        tar_format.Header(b"loop", tar_format.BLOCK_DEVICE, 0o660, 0, 6, device=(7, 255)),
    )
    assert [("fifo", "fifo", None), ("loop", "block", (7, 255)), ("null", "char", (1, 3))] == [
        (entry.path, entry.type, entry.device) for entry in entries
    ]
    assert ["fifo"] == os.listdir(tmp_path)


def test_times_before_1970_with_fractions_and_far_away(tmp_path: Path) -> None:
    records = b"30 mtime=1500000000.123456789\n"
    extension = tar_format.encode(tar_format.Header(b"x", b"x", size=30)) + records + bytes(482)
    stream = extension + b"".join(
        tar_format.encode(tar_format.Header(name, tar_format.FILE, mtime=mtime))
        for name, mtime in ((b"fraction", 0), (b"before", -5), (b"far", 1 << 40))
    )
    entries = extract(io.BytesIO(stream + tar_format.END), tmp_path)
    assert {"fraction": 1_500_000_000, "before": 0, "far": (1 << 33) - 1} == {entry.path: entry.mtime for entry in entries}


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", "ü ñ".encode(), b"new\nline", b"tab\t", b"back\\slash", b"-rf", b"a" * 255, b"d/" * 200 + b"f", b" "]
)
def test_odd_names(tmp_path: Path, name: bytes) -> None:
    entries = unpacked(tmp_path, tar_format.Header(name, tar_format.FILE))
    assert os.fsdecode(name) == entries[-1].path
    assert os.path.exists(os.path.join(os.fsencode(tmp_path), name))


def test_a_file_before_its_directory(tmp_path: Path) -> None:
    """The directory's own entry comes later and gives it mode and owner; nothing of what it holds is lost."""
    entries = unpacked(
        tmp_path,
        tar_format.Header(b"d/e/f", tar_format.FILE, size=3),
        tar_format.Header(b"d/", tar_format.DIRECTORY, 0o700, 5, 6),
    )
    assert [("d", 0o700, 5), ("d/e", 0o755, 0), ("d/e/f", 0, 0)] == [(entry.path, entry.mode, entry.uid) for entry in entries]


def test_directories_that_nobody_listed(tmp_path: Path) -> None:
    assert [("a", 0o755), ("a/b", 0o755)] == [
        (entry.path, entry.mode) for entry in unpacked(tmp_path, tar_format.Header(b"a/b/", tar_format.DIRECTORY, 0o755))
    ]


def test_names_of_one_file_whichever_comes_first(tmp_path: Path) -> None:
    """The manifest's first name is the file; the stream's may be another."""
    entries = settled(
        tmp_path,
        tar_format.Header(b"z", tar_format.FILE, 0o751, 7, 8, 3),
        tar_format.Header(b"a", tar_format.HARDLINK, link=b"z"),
        tar_format.Header(b"m", tar_format.HARDLINK, link=b"./a"),
    )
    assert [("a", "file", ""), ("m", "hardlink", "a"), ("z", "hardlink", "a")] == [
        (entry.path, entry.type, entry.link) for entry in entries
    ]
    assert {0o751} == {entry.mode for entry in entries}
    assert 3 == (tmp_path / "root/a").stat().st_nlink


def test_a_deleted_directory_and_its_successor(tmp_path: Path) -> None:
    """`.wh.d` and an opaque mark say the same of a directory that the layer brings; docker and buildah each write one."""
    for number, mark in enumerate((b".wh.d", b"d/.wh..wh..opq")):
        target = tmp_path / str(number)
        target.mkdir()
        entries = unpacked(target, tar_format.Header(mark, tar_format.FILE), tar_format.Header(b"d/f", tar_format.FILE, 0o644))
        assert [("d", True), ("d/f", False)] == [(entry.path, entry.opaque) for entry in entries]


def test_the_book_keeping_of_aufs_is_left_out(tmp_path: Path) -> None:
    headers = [tar_format.Header(name, tar_format.FILE) for name in (b".wh..wh.aufs", b".wh..wh.orph", b"f")]
    assert ["f"] == [entry.path for entry in unpacked(tmp_path, *headers)]


def test_an_empty_layer(tmp_path: Path) -> None:
    """Docker's own empty layer is 1024 zeros."""
    assert [] == unpacked(tmp_path)
