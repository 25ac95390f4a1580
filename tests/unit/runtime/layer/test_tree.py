"""The manifest of a layer: what a directory becomes, and that one tree has one form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.build import plan
from runtime.errors import BadContent, StoreError
from runtime.layer import tree
from runtime.layer.tree import Tree, TreeEntry, read_tree, scan, write_tree


def caller_owns(uid: int, gid: int) -> tuple[int, int]:
    return 0, 0


def test_the_layer_mtime_is_the_one_of_the_plan() -> None:
    assert plan.LAYER_MTIME_S == tree.LAYER_MTIME_S


def test_a_scan_names_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o750)
    (tmp_path / "d" / "f").write_bytes(b"12345")
    (tmp_path / "d" / "f").chmod(0o640)
    (tmp_path / "s").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "p", 0o600)

    found = scan(tmp_path)

    assert [
        TreeEntry("d", "dir", 0o750),
        TreeEntry("d/f", "file", 0o640, size=5),
        TreeEntry("p", "fifo", 0o600),
        TreeEntry("s", "symlink", 0o777, link="/nowhere"),
    ] == list(found)


def test_the_first_name_of_a_hard_linked_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(b"x")
    (tmp_path / "z").chmod(0o755)
    os.link(tmp_path / "z", tmp_path / "a")

    found = scan(tmp_path)

    assert [TreeEntry("a", "file", 0o755, size=1), TreeEntry("z", "hardlink", 0o755, link="a")] == list(found)


def test_hard_links_take_one_form_whichever_name_came_first() -> None:
    file_last = [
        TreeEntry("a", "hardlink", link="z"),
        TreeEntry("m", "hardlink", link="z"),
        TreeEntry("z", "file", 0o644, size=3),
    ]
    file_first = [
        TreeEntry("z", "hardlink", link="a"),
        TreeEntry("a", "file", 0o644, size=3),
        TreeEntry("m", "hardlink", link="a"),
    ]

    assert Tree.of(file_last) == Tree.of(file_first)
    assert ["file", "hardlink", "hardlink"] == [entry.type for entry in Tree.of(file_last)]


def test_a_hard_link_to_nothing_is_refused() -> None:
    with pytest.raises(BadContent, match="no file of this layer"):
        Tree.of([TreeEntry("a", "hardlink", link="gone")])


def test_one_path_twice_is_refused() -> None:
    with pytest.raises(BadContent, match="two entries for `a`"):
        Tree.of([TreeEntry("a", "file"), TreeEntry("a", "dir")])


def test_a_written_tree_is_read_back(tmp_path: Path) -> None:
    entries = [
        TreeEntry("a\udcff\n", "file", 0o4755, 3, 4, xattrs=(("security.capability", b"\0\1\xff"),), size=9, sha256="ab" * 32),
        TreeEntry("dev", "char", 0o600, device=(5, 1), mtime=7),
        TreeEntry("dir", "dir", 0o1777, opaque=True),
        TreeEntry("gone", "whiteout"),
        TreeEntry("link", "symlink", 0o777, link="ü"),
    ]
    write_tree(Tree.of(entries), tmp_path / "tree.jsonl")

    assert Tree.of(entries) == read_tree(tmp_path / "tree.jsonl")


def test_a_damaged_manifest_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "tree.jsonl").write_text('{"path":"a","type":"portal"}\n')
    with pytest.raises(StoreError, match=r"tree\.jsonl.*portal"):
        read_tree(tmp_path / "tree.jsonl")


def test_labels_and_acls_of_the_host_are_no_content() -> None:
    kept = [
        name
        for name in ("user.comment", "security.capability", "security.selinux", "user.overlay.opaque", "trusted.overlay.origin")
        if tree.is_layer_xattr(name)
    ]
    assert ["user.comment", "security.capability"] == kept
