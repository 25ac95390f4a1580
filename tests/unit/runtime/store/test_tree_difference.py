"""Two trees, path by path."""

from __future__ import annotations

import pytest

from runtime.layer.tree import Tree, TreeEntry
from runtime.store.merged_tree import merge
from runtime.store.tree_difference import tree_difference

FILE = TreeEntry("p", "file", 0o644, size=3, sha256="a" * 64)
LINK = TreeEntry("p", "symlink", 0o777, link="x")
DEVICE = TreeEntry("p", "char", 0o600, device=(1, 3))


def entry(**fields: object) -> TreeEntry:
    return TreeEntry(**{"path": "p", "type": "file", "mode": 0o644, "size": 3, "sha256": "a" * 64, **fields})


def differences(before: list[TreeEntry], after: list[TreeEntry]) -> list[tuple[str, str, tuple[tuple[str, str, str], ...]]]:
    found = tree_difference(merge([Tree.of(before)]), merge([Tree.of(after)]))
    return [(each.kind, each.path, each.aspects) for each in found]


@pytest.mark.parametrize(
    ("before", "after", "aspects"),
    [
        pytest.param(FILE, entry(mode=0o755), [("mode", "0644", "0755")], id="mode"),
        pytest.param(FILE, entry(uid=7, gid=8), [("owner", "0:0", "7:8")], id="owner"),
        pytest.param(FILE, entry(sha256="b" * 64), [("content", "a" * 64, "b" * 64)], id="content of the same size"),
        pytest.param(
            FILE, entry(size=4, sha256="b" * 64), [("size", "3", "4"), ("content", "a" * 64, "b" * 64)], id="size and content"
        ),
        pytest.param(FILE, entry(xattrs=(("user.a", b"x"),)), [("xattrs", "", "user.a=78")], id="xattrs"),
        pytest.param(FILE, LINK, [("type", "file", "symlink")], id="type"),
        pytest.param(LINK, TreeEntry("p", "symlink", 0o777, link="y"), [("link", "x", "y")], id="target of a link"),
        pytest.param(DEVICE, TreeEntry("p", "char", 0o600, device=(1, 5)), [("device", "1:3", "1:5")], id="device"),
    ],
)
def test_what_changed_of_a_path(before: TreeEntry, after: TreeEntry, aspects: list[tuple[str, str, str]]) -> None:
    assert [("changed", "p", tuple(aspects))] == differences([before], [after])


def test_times_are_no_difference() -> None:
    assert [] == differences([entry(mtime=1)], [entry(mtime=2)])


def test_added_and_removed_paths_in_order() -> None:
    assert [("added", "a", ()), ("removed", "b", ())] == differences([entry(path="b")], [entry(path="a")])


def test_a_hard_link_is_the_same_file_unless_its_other_name_is_another() -> None:
    """Three names of one file: where the first goes, the second is the file, and only the link of the third has changed."""
    names = [entry(path="a"), TreeEntry("b", "hardlink", 0o644, link="a"), TreeEntry("c", "hardlink", 0o644, link="a")]
    left = [entry(path="b"), TreeEntry("c", "hardlink", 0o644, link="b")]
    assert [("removed", "a", ()), ("changed", "b", (("link", "a", ""),)), ("changed", "c", (("link", "a", "b"),))] == differences(
        names, left
    )
