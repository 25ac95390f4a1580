"""What a stack of layers looks like from inside, without mounting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.layer.tree import Tree, TreeEntry
from runtime.store.merged_tree import Content, MergedTree, merge


def directory(path: str, mode: int = 0o755, *, opaque: bool = False) -> TreeEntry:
    return TreeEntry(path, "dir", mode, opaque=opaque)


def file(path: str, content: str = "") -> TreeEntry:
    return TreeEntry(path, "file", 0o644, size=len(content), sha256=content or path)


def gone(path: str) -> TreeEntry:
    return TreeEntry(path, "whiteout")


def merged(*layers: list[TreeEntry]) -> MergedTree:
    return merge([Tree.of(layer) for layer in layers])


def paths(tree: MergedTree) -> list[str]:
    return [entry.path for entry in tree]


def test_the_upper_file_and_the_upper_directorys_attributes_win() -> None:
    tree = merged([directory("d"), file("d/a", "old"), file("d/b")], [directory("d", 0o700), file("d/a", "new")])
    assert ["d", "d/a", "d/b"] == paths(tree)
    assert ("new", 0o700) == (tree.get("d/a").sha256, tree.get("d").mode)
    assert (Content(1, "d/a"), Content(0, "d/b"), None) == tuple(tree.content_of(path) for path in ("d/a", "d/b", "d"))


def test_a_deletion_hides_a_file_and_a_directory_with_all_below() -> None:
    below = [file("a"), directory("d"), directory("d/e"), file("d/e/f"), file("d-"), file("d0")]
    assert ["d-", "d0"] == paths(merged(below, [gone("a"), gone("d")]))


def test_a_deletion_of_what_is_not_there_does_nothing() -> None:
    assert ["a"] == paths(merged([file("a")], [gone("b")]))


def test_a_replaced_directory_has_only_what_its_own_layer_has() -> None:
    tree = merged([directory("d"), file("d/old"), directory("d/e"), file("d/e/f")], [directory("d", opaque=True), file("d/new")])
    assert ["d", "d/new"] == paths(tree)
    assert not tree.get("d").opaque


def test_what_comes_above_a_deletion_is_there_again() -> None:
    assert ["d", "d/b"] == paths(merged([directory("d"), file("d/a")], [gone("d")], [directory("d"), file("d/b")]))


def test_a_file_hides_a_directory_and_a_directory_a_file() -> None:
    assert ["d"] == paths(merged([directory("d"), file("d/a")], [file("d")]))
    assert ["d", "d/a"] == paths(merged([file("d")], [directory("d"), file("d/a")]))


def test_a_directory_hidden_by_a_file_does_not_come_back_through_a_directory_above() -> None:
    assert ["d", "d/b"] == paths(merged([directory("d"), file("d/a")], [file("d")], [directory("d"), file("d/b")]))


def hard(path: str, link: str) -> TreeEntry:
    return TreeEntry(path, "hardlink", link=link)


def test_a_hard_link_whose_first_name_is_gone_is_the_file() -> None:
    tree = merged([file("a", "content"), hard("b", "a"), hard("c", "a")], [gone("a")])
    assert [("b", "file", ""), ("c", "hardlink", "b")] == [(entry.path, entry.type, entry.link) for entry in tree]
    assert ("content", 7) == (tree.get("b").sha256, tree.get("b").size)
    assert "content" == tree.file_of(tree.get("c")).sha256
    assert Content(0, "a") == tree.content_of("c")


def test_a_hard_link_keeps_the_content_that_it_had_when_the_first_name_is_replaced() -> None:
    tree = merged([file("a", "old"), hard("b", "a")], [file("a", "new")])
    assert [("a", "file", "new"), ("b", "file", "old")] == [(entry.path, entry.type, entry.sha256) for entry in tree]


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path, "symlink", 0o777, link=target)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param("lib/x", "usr/lib/x", id="a link on the way"),
        pytest.param("/etc/abs", "usr/lib/x", id="an absolute link"),
        pytest.param("etc/up", "usr/lib/x", id="a link with more .. than there are parents"),
        pytest.param("etc/../lib/./x", "usr/lib/x", id="dots"),
        pytest.param("etc/circle", None, id="links in a circle"),
        pytest.param("etc/nowhere", None, id="a link to nothing"),
    ],
)
def test_links_are_followed_inside_the_tree(asked: str, found: str | None) -> None:
    links = [
        link("etc/abs", "/lib/x"),
        link("etc/up", "../../../usr/lib/x"),
        link("etc/circle", "circle"),
        link("etc/nowhere", "y"),
    ]
    tree = merged([directory("usr"), directory("usr/lib"), file("usr/lib/x"), link("lib", "usr/lib"), directory("etc"), *links])
    assert found == tree.resolve(asked)


def test_content_is_read_where_it_lies(tmp_path: Path) -> None:
    for name, text in (("0", "lower"), ("1", "upper")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(text)
    (tmp_path / "0" / "g").write_text("only below")
    trees = [
        Tree.of([file("f", "lower"), file("g", "only below"), directory("d")]),
        Tree.of([file("f", "upper"), link("l", "g")]),
    ]
    tree = merge(trees, roots=[tmp_path / "0", tmp_path / "1"])
    assert (b"upper", b"only below", b"only") == (tree.read("f"), tree.read("l"), tree.read("/g", limit=4))
    assert (None, None) == (tree.read("d"), tree.read("missing"))
