"""A file that never changes has two names, or is copied."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from runtime.whole_file import link_or_copy


def test_a_second_name_takes_no_room(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("content")
    link_or_copy(tmp_path / "one", tmp_path / "two")
    link_or_copy(tmp_path / "one", tmp_path / "two")
    assert 2 == (tmp_path / "two").stat().st_nlink
    assert {"one", "two"} == set(os.listdir(tmp_path))


def test_two_threads_may_link_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").write_text("content")
    both_have_linked, link = Barrier(2), os.link

    def slow(source: Path, target: Path) -> None:
        link(source, target)
        both_have_linked.wait(5)

    monkeypatch.setattr(os, "link", slow)
    with ThreadPoolExecutor() as pool:
        for linked in [pool.submit(link_or_copy, tmp_path / "one", tmp_path / "two") for _ in range(2)]:
            linked.result()
    assert {"one", "two"} == set(os.listdir(tmp_path))


def test_where_there_can_be_no_second_name_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(_source: object, _target: object) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    (tmp_path / "one").write_text("content")
    monkeypatch.setattr(os, "link", too_many)
    link_or_copy(tmp_path / "one", tmp_path / "two")
    assert "content" == (tmp_path / "two").read_text()
    assert {"one", "two"} == set(os.listdir(tmp_path))


def test_what_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "one", tmp_path / "two")
    assert [] == os.listdir(tmp_path)
