"""What layers have at a path, without a mount; and users by name in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.build.image_users import resolve_owner, resolve_user
from runtime.build.layers_below import LayersBelow
from runtime.errors import BuildError
from runtime.layer.tree import OPAQUE_XATTRS, Tree, TreeEntry, scan, write_tree
from runtime.rootfs.accounts import User


def layer(tmp_path: Path, name: str, **files: str | None) -> Path:
    """A layer with *files* (`a__b` is `a/b`): text, `->` and a link's target, a directory for None."""
    root = tmp_path / name / "root"
    root.mkdir(parents=True)
    for path, content in files.items():
        place = root / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir()
        elif content.startswith("->"):
            place.symlink_to(content[2:])
        else:
            place.write_text(content)
    seal(root)
    return root


def seal(root: Path, tree: Tree | None = None) -> None:
    write_tree(tree or scan(root), root.parent / "tree.jsonl")


def test_an_upper_file_is_seen_and_a_directory_of_two_layers_is_one(tmp_path: Path) -> None:
    below = LayersBelow([layer(tmp_path, "1", d__a="1", d__b="1"), layer(tmp_path, "2", d__b="2", d__c="2")])
    assert [b"1", b"2", b"2", None] == [below.read(path) for path in ("d/a", "d/b", "d/c", "d/x")]


def test_what_an_upper_layer_deletes_or_replaces_is_not_there(tmp_path: Path) -> None:
    lower = layer(tmp_path, "1", gone="1", was__a="1", file="1", dir__a="1")
    upper = tmp_path / "2" / "root"
    upper.mkdir(parents=True)
    os.mknod(upper / "gone", 0o20000, 0)
    (upper / "was").mkdir()
    os.setxattr(upper / "was", OPAQUE_XATTRS[0] if os.geteuid() == 0 else OPAQUE_XATTRS[1], b"y")
    (upper / "file").mkdir()
    (upper / "dir").write_text("2")
    seal(upper)
    below = LayersBelow([lower, upper])
    assert [None, "dir", None, "dir", "file", None] == [
        below.kind(path) for path in ("gone", "was", "was/a", "file", "dir", "dir/a")
    ]


def test_links_are_followed_inside_the_root_as_a_container_would(tmp_path: Path) -> None:
    below = LayersBelow(
        [
            layer(tmp_path, "1", usr__bin__sh="x", bin="->usr/bin", up="->../../../usr", abs="->/bin/sh", a="->b", b="->a"),
            layer(tmp_path, "2", usr__bin__new="->sh"),
        ]
    )
    assert ("usr/bin/sh", "file") == below.resolve("/bin/new")
    assert ("usr/bin", "dir") == below.resolve("up/./bin/")
    assert ("usr/bin/sh", "file") == below.resolve("abs")
    assert ("usr/bin/none/deep", None) == below.resolve("bin/none/deep")
    assert ("usr", "dir") == below.resolve("bin/none/../..")
    with pytest.raises(BuildError, match="symbolic links"):
        below.resolve("a/x")
    with pytest.raises(BuildError, match="`/usr/bin/sh` is no directory"):
        below.resolve("bin/sh/x")


def test_owner_and_mode_are_the_manifests(tmp_path: Path) -> None:
    root = layer(tmp_path, "1", data=None)
    seal(root, Tree.of([TreeEntry("data", "dir", 0o750, 33, 44, xattrs=(("user.a", b"1"),))]))
    entry = LayersBelow([root]).entry("data")
    assert (0o750, 33, 44, (("user.a", b"1"),)) == (entry.mode, entry.uid, entry.gid, entry.xattrs)


PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/var/www:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:web,other\nvideo:x:44:web\ngpu:x:7:web\n"


@pytest.fixture
def users(tmp_path: Path) -> list[Path]:
    return [layer(tmp_path, "users", etc__passwd=PASSWD, etc__group=GROUP)]


def test_a_user_is_looked_up_in_the_layers(users: list[Path]) -> None:
    assert User(33, 50, (50,), "/var/www") == resolve_user("web:staff", users)


@pytest.mark.parametrize(("user", "what"), [("nobody", "user `nobody`"), ("web:none", "group `none`"), ("4294967296", "above")])
def test_a_user_that_is_not_there_is_named(users: list[Path], user: str, what: str) -> None:
    with pytest.raises(BuildError, match=what):
        resolve_user(user, users)


@pytest.mark.parametrize(
    ("owner", "expected"),
    [("", (0, 0)), ("5", (5, 5)), ("5:6", (5, 6)), ("web", (33, 44)), ("web:staff", (33, 50)), ("0:web", None)],
)
def test_an_owner_is_looked_up_as_chown_does(users: list[Path], owner: str, expected: tuple[int, int] | None) -> None:
    below = LayersBelow(users)
    if expected is None:
        with pytest.raises(BuildError, match="no group `web`"):
            resolve_owner(owner, below)
    else:
        assert expected == resolve_owner(owner, below)


def test_numbers_need_no_passwd_file(tmp_path: Path) -> None:
    assert User(7, 0, (0,)) == resolve_user("7", [layer(tmp_path, "empty")])
