"""A layer as a tar stream: the same bytes always, read by others, and read back by us."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.layer import tar_format
from runtime.layer.archive import digest_tree, tar_chunks
from runtime.layer.extract import extract
from runtime.layer.tar_reader import read_header
from runtime.layer.tree import LAYER_MTIME_S, Tree, TreeEntry, scan


@pytest.fixture
def layer(tmp_path: Path) -> tuple[Tree, Path]:
    """A layer with one of everything that has an own encoding."""
    root = tmp_path / "layer"
    deep = root / "deep" / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"deep")
    (root / "bin").mkdir()
    (root / "bin" / "tool").write_bytes(os.urandom(70_000))
    os.link(root / "bin" / "tool", root / "bin" / "alias")
    (root / "name with ü\n").write_bytes(b"")
    os.symlink("x" * 150, root / "long link")
    owned = {"bin/alias": (0o4755, 7, 3_000_000), "bin/tool": (0o4755, 7, 3_000_000)}
    scanned = scan(root)
    entries = []
    for entry in scanned:
        mode, uid, gid = owned.get(entry.path, (entry.mode, 0, 0))
        xattrs = (("security.capability", b"\1\0\0\2\0\n="),) if entry.path == "bin/alias" else ()
        entries.append(TreeEntry(entry.path, entry.type, mode, uid, gid, xattrs=xattrs, link=entry.link, size=entry.size))
    extra = [TreeEntry("gone", "whiteout"), TreeEntry("deep/old", "whiteout"), TreeEntry("new", "dir", 0o700, opaque=True)]
    (root / "new").mkdir()
    return Tree.of([*entries, *extra]), root


def test_digest_and_stream_agree(layer: tuple[Tree, Path]) -> None:
    stream = b"".join(tar_chunks(*layer))
    digested = digest_tree(*layer)
    assert (f"sha256:{hashlib.sha256(stream).hexdigest()}", len(stream)) == (digested.diff_id, digested.size_bytes)
    assert all(entry.sha256 for entry in digested.tree if entry.type == "file")


def test_what_we_write_we_read_back(layer: tuple[Tree, Path], tmp_path: Path) -> None:
    target = tmp_path / "back"
    target.mkdir()
    tree = digest_tree(*layer).tree

    assert tree == extract(io.BytesIO(b"".join(tar_chunks(*layer))), target)
    assert b"deep" == (target / "deep" / ("d" * 120) / ("e" * 120) / "f").read_bytes()


def test_the_standard_library_reads_the_stream(layer: tuple[Tree, Path]) -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_chunks(*layer)))) as archive:
        members = {member.name: member for member in archive}

    tool = members["bin/tool"]
    assert ("bin/alias", 0o4755, 7, 3_000_000, LAYER_MTIME_S) == (tool.linkname, tool.mode, tool.uid, tool.gid, tool.mtime)
    assert {".wh.gone", "deep/.wh.old", "new/.wh..wh..opq", "name with ü\n", "x" * 150} <= {
        *members,
        members["long link"].linkname,
    }


@pytest.mark.skipif(shutil.which("tar") is None, reason="`tar` is not installed")
def test_gnu_tar_finds_nothing_to_complain_about(layer: tuple[Tree, Path], tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(b"".join(tar_chunks(*layer)))
    listed = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", tmp_path / "layer.tar"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )
    assert (0, "") == (listed.returncode, listed.stderr)
    assert "7/3000000" in listed.stdout


def test_a_file_that_changed_size_is_no_silent_layer(layer: tuple[Tree, Path]) -> None:
    (layer[1] / "bin" / "tool").write_bytes(b"short")
    with pytest.raises(StoreError, match="doesn't have the 70000 bytes"):
        digest_tree(*layer)


def test_a_file_with_another_content_than_its_manifest_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"b")
    with pytest.raises(StoreError, match="sha256"):
        digest_tree(Tree.of([TreeEntry("f", "file", size=1, sha256="0" * 64)]), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"a" * 100, id="just fits"),
        pytest.param(b"a" * 101, id="one byte too long"),
        pytest.param(b"p" * 155 + b"/" + b"n" * 100, id="prefix and name full"),
        pytest.param(b"p" * 156 + b"/" + b"n" * 100, id="prefix too long"),
        pytest.param(b"a/" * 70 + b"n", id="many parts"),
        pytest.param(b"\xff\xfe", id="not utf-8"),
        pytest.param(b"d" * 101 + b"/", id="long directory"),
    ],
)
def test_every_name_survives_its_encoding(name: bytes) -> None:
    kind = tar_format.DIRECTORY if name.endswith(b"/") else tar_format.FILE
    stream = io.BytesIO(tar_format.encode(tar_format.Header(name, kind)) + tar_format.END)
    header = read_header(stream.read)
    assert header is not None
    assert name == header.name


@pytest.mark.parametrize("length", range(85, 110))
def test_a_pax_record_counts_its_own_length(length: int) -> None:
    """Around 99 bytes the length gains a digit, which makes the record longer."""
    header = tar_format.Header(b"f", tar_format.FILE, xattrs=(("user.a", b"v" * length),))
    stream = io.BytesIO(tar_format.encode(header) + tar_format.END)
    assert header == read_header(stream.read)


def test_archives_of_gnu_tar_and_python_are_read(tmp_path: Path) -> None:
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            directory = tarfile.TarInfo("./usr/")
            directory.type = tarfile.DIRTYPE
            directory.mode = 0o755
            archive.addfile(directory)
            member = tarfile.TarInfo("usr/" + "n" * (150 if form != tarfile.USTAR_FORMAT else 90))
            member.size, member.mtime = 3, 1_600_000_000
            archive.addfile(member, io.BytesIO(b"abc"))
        buffer.seek(0)
        target = tmp_path / str(number)
        target.mkdir()
        tree = extract(buffer, target)
        assert [("dir", 0), ("file", 3)] == [(entry.type, entry.size) for entry in tree]
        assert 1_600_000_000 == tree.entries[1].mtime
