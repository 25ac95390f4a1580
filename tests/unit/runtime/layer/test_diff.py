"""What a container changed, and what of it is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import StoreError
from runtime.layer.diff import diff, matcher


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
    os.link(tmp_path / "cache" / "a", tmp_path / "z")

    assert [("cache", "dir"), ("z", "file")] == [(entry.path, entry.type) for entry in diff(tmp_path, drop=["cache/*"])]


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
