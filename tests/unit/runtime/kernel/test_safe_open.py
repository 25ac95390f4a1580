"""Attacks on opening below a root; each is tried with a real directory tree (openat2 needs no privileges)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.kernel import safe_open


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    (tmp_path / "secret").write_text("host")
    directory = tmp_path / "root"
    directory.mkdir()
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    yield directory, fd
    os.close(fd)


@pytest.mark.parametrize("target", ["../secret", "/../secret", "../../../../secret", "a/../../secret"])
def test_dots_stop_at_the_root(root: tuple[Path, int], target: str) -> None:
    directory, fd = root
    (directory / "a").mkdir()
    (directory / "secret").write_text("inside")
    assert b"inside" == safe_open.read_in_root(fd, target)


def test_an_absolute_link_stays_inside(root: tuple[Path, int], tmp_path: Path) -> None:
    directory, fd = root
    (directory / "link").symlink_to(tmp_path / "secret")
    assert safe_open.read_in_root(fd, "link") is None


def test_a_magic_link_is_refused(root: tuple[Path, int]) -> None:
    directory, fd = root
    (directory / "link").symlink_to("/proc/self/root/etc")
    with pytest.raises(OSError, match="openat2"):
        safe_open.open_in_root(fd, "link")


def test_directories_are_made_through_a_link_inside_the_root(root: tuple[Path, int], tmp_path: Path) -> None:
    directory, fd = root
    (directory / "real").mkdir()
    (directory / "link").symlink_to("/real")
    made_fd, made = safe_open.make_directories(fd, "/link/a/b", mode=0o711)
    os.close(made_fd)
    assert ["link/a", "link/a/b"] == made
    assert 0o711 == (directory / "real/a/b").stat().st_mode & 0o777
    assert ["root", "secret"] == sorted(os.listdir(tmp_path))


def test_a_dangling_link_is_not_filled(root: tuple[Path, int]) -> None:
    directory, fd = root
    (directory / "link").symlink_to("/nowhere")
    with pytest.raises(FileExistsError):
        safe_open.make_directories(fd, "link/a")
    assert not (directory / "nowhere").exists()


def test_a_file_is_made_with_its_directories_once(root: tuple[Path, int]) -> None:
    directory, fd = root
    for expected in (["etc", "etc/hosts"], []):
        file_fd, made = safe_open.make_file(fd, "etc/hosts")
        os.close(file_fd)
        assert expected == made
    assert "" == (directory / "etc/hosts").read_text()


def test_a_directory_is_no_content(root: tuple[Path, int]) -> None:
    _directory, fd = root
    assert safe_open.read_in_root(fd, ".") is None
