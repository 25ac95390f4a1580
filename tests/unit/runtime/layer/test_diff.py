"""What a container changed, and what of it is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.layer.archive import digest_tree
from runtime.layer.diff import diff, matcher
from runtime.layer.tree import scan


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("var/log/**", "var/log/apt/term.log", True),
        ("var/log/**", "var/log", False),
        ("var/log/*", "var/log/apt/term.log", False),
        ("**/*.pyc", "a/b/c.pyc", True),
        ("**/*.pyc", "c.pyc", True),
        ("**/__pycache__/**", "usr/lib/x/__pycache__/y.pyc", True),
        ("var/cache/ldconfig/aux-cache", "var/cache/ldconfig/aux-cache", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
    ],
)
def test_globs_mean_what_people_expect(glob: str, path: str, fits: bool) -> None:
    assert fits is matcher([glob])(path)


def test_no_globs_match_nothing() -> None:
    assert not matcher([])("a")


def test_dropped_paths_leave_the_directory_too(tmp_path: Path) -> None:
    (tmp_path / "var" / "log" / "apt").mkdir(parents=True)
    (tmp_path / "var" / "log" / "apt" / "term.log").write_text("now")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "kept").write_text("x")

    tree = diff(tmp_path, drop=["var/log/**"])

    assert ["etc", "etc/kept", "var", "var/log"] == [entry.path for entry in tree]
    assert [] == os.listdir(tmp_path / "var" / "log")


def test_a_file_whose_first_name_was_dropped_lives_on(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "a").write_text("x")
    for name in ("y", "z"):
        os.link(tmp_path / "cache" / "a", tmp_path / name)

    tree = diff(tmp_path, drop=["cache/*"])

    assert [("cache", "dir", ""), ("y", "file", ""), ("z", "hardlink", "y")] == [(one.path, one.type, one.link) for one in tree]
    assert tree == scan(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_a_mode_that_forbids_its_owner_to_read_is_kept_in_the_manifest() -> None:
    """/etc/shadow has mode 0 on some systems; a build as an ordinary user is bound by it."""
    # Not below `tmp_path`, whose parents are closed to others.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "d").mkdir()
        (root / "d" / "shadow").write_text("x")
        (root / "d" / "log").write_text("x")
        for path, mode in ((root / "d" / "shadow", 0), (root / "d", 0o111), (root, 0o700)):
            os.chown(path, 65534, 65534)
            path.chmod(mode)
        os.seteuid(65534)
        try:
            tree = diff(root, drop=["d/log"])
            assert 64 == len(digest_tree(tree, root).diff_id.hex)
        finally:
            os.seteuid(0)
    assert [("d", 0o111), ("d/shadow", 0)] == [(entry.path, entry.mode) for entry in tree]


def test_a_redirected_directory_is_no_layer(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "user.overlay.redirect", b"/elsewhere")
    with pytest.raises(StoreError, match="`redirect` mark"):
        diff(tmp_path)


def test_a_directory_is_not_dropped_with_a_part_kept(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    with pytest.raises(StoreError, match="of which a part is kept"):
        diff(tmp_path, drop=["d"])


def test_a_deletion_in_a_dropped_place_stays_with_the_directories_above_it(tmp_path: Path) -> None:
    (tmp_path / "var" / "log" / "apt").mkdir(parents=True)
    os.mknod(tmp_path / "var" / "log" / "apt" / "old.log", 0o20000, 0)
    (tmp_path / "var" / "log" / "apt" / "new.log").write_text("now")
    (tmp_path / "var" / "log" / "empty").mkdir()

    tree = diff(tmp_path, drop=["var/log/**"])

    assert ["var", "var/log", "var/log/apt", "var/log/apt/old.log"] == [entry.path for entry in tree]
