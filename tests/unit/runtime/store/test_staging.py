"""What is made in `tmp` goes from there again, whatever it holds."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.store.staging import remove_tree, sweep


def test_what_lies_three_thousand_directories_deep_is_removed_too(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    at = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(top)
    assert not top.exists()


@pytest.mark.parametrize("mode", [0, 0o555])
def test_a_directory_that_denies_its_owner_is_removed(tmp_path: Path, mode: int) -> None:
    denied = tmp_path / "top" / "a" / "b"
    denied.mkdir(parents=True)
    (denied / "file").touch()
    (tmp_path / "top" / "link").symlink_to(tmp_path)
    for directory in (denied, denied.parent):
        directory.chmod(mode)
    remove_tree(tmp_path / "top")
    assert [] == list(tmp_path.iterdir())


def test_what_another_machine_is_making_is_left_alone_for_a_week(tmp_path: Path) -> None:
    """Of a directory on a shared file system no other machine sees the lock."""
    elsewhere, abandoned = tmp_path / f"00c0ffee-{'a' * 16}", tmp_path / f"00c0ffee-{'b' * 16}"
    for directory in (elsewhere, abandoned):
        directory.mkdir()
    long_ago = time.time() - 8 * 86_400
    os.utime(abandoned, (long_ago, long_ago))
    assert 1 == sweep(tmp_path)
    assert (True, False) == (elsewhere.exists(), abandoned.exists())


def test_several_remove_one_tree_at_once(tmp_path: Path) -> None:
    """Who looks through the top finds it full again of what another has moved there from below."""
    for round_ in range(20):
        for number in range(60):
            (tmp_path / str(round_) / f"{number}" / "a" / "b" / "c").mkdir(parents=True)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(remove_tree, [tmp_path / str(round_)] * 4))
    assert [] == os.listdir(tmp_path)
