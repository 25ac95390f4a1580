"""What is said of two trees that are not the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.layer.archive import digest_tree
from runtime.layer.tree import Tree, TreeEntry, scan
from runtime.store.tree_difference import PathDifference, content_in_words, in_words, layer_difference

FILE = TreeEntry("bin/x", "file", 0o644, size=3, sha256="a" * 64)


def entry(**fields: object) -> TreeEntry:
    from runtime.light_dataclasses import replace

    return replace(FILE, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param(entry(mode=0o4755), "mode 0644 → 4755", id="mode"),
        pytest.param(entry(uid=0, gid=42), "owner 0:0 → 0:42", id="owner"),
        pytest.param(entry(sha256="b" * 64), "content (3 bytes)", id="content of one size"),
        pytest.param(entry(sha256="b" * 64, size=4), "content (3 → 4 bytes)", id="content"),
        pytest.param(entry(xattrs=(("user.a", b"1"),)), "extended attributes user.a", id="xattr"),
        pytest.param(entry(mtime=7), f"mtime {FILE.mtime} → 7", id="time"),
        pytest.param(TreeEntry("bin/x", "symlink", 0o777, link="y"), "file → link", id="type"),
        pytest.param(None, "only recorded: file", id="gone"),
    ],
)
def test_each_aspect_has_its_words(after: TreeEntry | None, words: str) -> None:
    assert [words] == in_words(PathDifference("bin/x", FILE, after))


def test_what_is_only_in_the_rebuilt_layer_is_named_so() -> None:
    assert ["only rebuilt: deletion"] == in_words(PathDifference("x", None, TreeEntry("x", "whiteout")))


def test_equal_trees_have_no_layer_difference() -> None:
    assert [] == layer_difference(Tree.of([FILE]), Tree.of([FILE]))
    assert ["bin/x"] == [change.path for change in layer_difference(Tree.of([FILE]), Tree.of([]))]


def contents(tmp_path: Path, name: str, before: bytes, after: bytes) -> list[str]:
    trees = []
    for side, content in (("a", before), ("b", after)):
        root = tmp_path / side
        root.mkdir()
        (root / name).write_bytes(content)
        trees.append(digest_tree(scan(root), root).tree)
    (change,) = layer_difference(*trees)
    return content_in_words(change, tmp_path / "a", tmp_path / "b")


def test_a_small_text_is_shown_as_a_diff(tmp_path: Path) -> None:
    assert ["-two", "+2"] == contents(tmp_path, "x.txt", b"one\ntwo\nthree\n", b"one\n2\nthree\n")


def test_a_long_diff_is_cut(tmp_path: Path) -> None:
    lines = contents(tmp_path, "x.txt", b"", b"".join(b"%d\n" % number for number in range(99)))
    assert "… 87 lines more" == lines[-1]


def test_control_characters_of_a_text_reach_no_terminal(tmp_path: Path) -> None:
    assert ["-\\x1b[31mred", "+plain"] == contents(tmp_path, "x.txt", b"\x1b[31mred\n", b"plain\n")


def test_bytecode_is_known_by_its_header(tmp_path: Path) -> None:
    header = bytes(16)
    assert ["bytecode: compiled to other code"] == contents(tmp_path, "x.pyc", header + b"a", header + b"b")


def test_the_headers_difference_is_named(tmp_path: Path) -> None:
    found = contents(tmp_path, "x.pyc", bytes(16), bytes(8) + b"\1\0\0\0" + bytes(4))
    assert ["bytecode: source's mtime or hash in its header"] == found


def test_a_program_is_known_as_one(tmp_path: Path) -> None:
    assert ["ELF: differs from byte 20 on"] == contents(tmp_path, "x", b"\x7fELF" + bytes(17), b"\x7fELF" + bytes(16) + b"\1")


def test_of_a_binary_the_first_difference_is_told(tmp_path: Path) -> None:
    assert ["differs from byte 2 on"] == contents(tmp_path, "x", b"\0\xff", b"\0\xff\0")
