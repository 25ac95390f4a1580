"""A file is replaced as a whole, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from runtime.whole_file import link_or_copy, new_directory, remove_partials, replace_file


def test_a_file_is_made_and_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "first")
    replace_file(path, "zweitens: ü".encode())
    assert "zweitens: ü" == path.read_text(encoding="utf-8")
    assert ["state.json"] == os.listdir(tmp_path)


def test_threads_that_replace_it_at_once_do_not_take_each_others_part_away(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    in_the_middle, may_end = Event(), Event()

    def slow() -> Iterator[bytes]:
        yield b"sl"
        in_the_middle.set()
        may_end.wait(5)
        yield b"ow"

    with ThreadPoolExecutor() as pool:
        first = pool.submit(replace_file, path, slow())
        in_the_middle.wait(5)
        replace_file(path, "quick")
        may_end.set()
        first.result()
    assert ("slow", ["state.json"]) == (path.read_text(), os.listdir(tmp_path))


def test_who_has_the_old_file_open_reads_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "old")
    with path.open() as old:
        replace_file(path, "new")
        assert ("old", "new") == (old.read(), path.read_text())


@pytest.mark.parametrize(("mode", "umask", "seen"), [(0o600, 0o022, 0o600), (0o666, 0o022, 0o644), (0o666, 0o077, 0o600)])
def test_the_mode_is_what_the_umask_leaves(tmp_path: Path, mode: int, umask: int, seen: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "state.json", "", mode=mode)
    finally:
        os.umask(before)
    assert seen == (tmp_path / "state.json").stat().st_mode & 0o777


def test_a_write_that_fails_leaves_the_old_content_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "old")

    def full(_source: object, _target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert ("old", ["state.json"]) == (path.read_text(), os.listdir(tmp_path))


def test_a_link_in_the_way_of_the_partial_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / f".state.json.{'00' * 8}").symlink_to(other)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "state.json", "new")
    assert "untouched" == other.read_text()


def test_a_directory_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_directory(tmp_path / "place") as partial:
        (partial / "file").write_text("content")
        assert not (tmp_path / "place").exists()
    assert (["place"], "content") == (os.listdir(tmp_path), (tmp_path / "place/file").read_text())


def test_of_two_makers_of_a_directory_the_first_has_it(tmp_path: Path) -> None:
    with new_directory(tmp_path / "place") as mine:
        (mine / "whose").write_text("mine")
        with new_directory(tmp_path / "place") as theirs:
            (theirs / "whose").write_text("theirs")
    assert (["place"], "theirs") == (os.listdir(tmp_path), (tmp_path / "place/whose").read_text())


def test_a_directory_that_could_not_be_filled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_directory(tmp_path / "place") as partial:
        (partial / "missing" / "file").touch()
    assert [] == os.listdir(tmp_path)


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


def test_what_a_killed_writer_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    for name in (".code.tar.0123456789abcdef", "code.tar", ".spec.json.0123456789abcdef", ".code"):
        (tmp_path / name).touch()
    remove_partials(tmp_path, ["code.tar", "outputs.json"])
    assert {"code.tar", ".spec.json.0123456789abcdef", ".code"} == set(os.listdir(tmp_path))
