"""Changes of files wake us."""

from __future__ import annotations

import errno
import os
import select
from pathlib import Path

import pytest

from runtime.kernel import inotify, libc


def test_an_append_to_a_watched_file_is_seen_once(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.touch()
    with inotify.Inotify() as watches:
        watches.watch(file, inotify.MODIFY)
        assert [] == watches.read()
        with file.open("a") as out:
            out.write("{}\n")
        assert select.select([watches], [], [], 5)[0]
        assert [inotify.Event(file, inotify.MODIFY)] == watches.read()
        assert [] == watches.read()


def test_a_new_file_in_a_watched_directory_has_its_path(tmp_path: Path) -> None:
    with inotify.Inotify() as watches:
        watches.watch(tmp_path, inotify.CREATE | inotify.MOVED_TO)
        (tmp_path / "a").touch()
        (tmp_path / "a").rename(tmp_path / "b")
        assert [tmp_path / "a", tmp_path / "b"] == [event.path for event in watches.read()]


def test_what_is_watched_no_longer_wakes_nobody(tmp_path: Path) -> None:
    kept, dropped = tmp_path / "kept", tmp_path / "dropped"
    with inotify.Inotify() as watches:
        for file in (kept, dropped):
            file.touch()
            watches.watch(file, inotify.MODIFY)
        watches.unwatch(dropped)
        for file in (dropped, kept):
            file.write_text("more")
        assert {kept} == {event.path for event in watches.read()}


@pytest.mark.parametrize(
    ("call", "number"), [("inotify_init", errno.EMFILE), ("inotify_add_watch", errno.ENOSPC)], ids=["no instance", "no watch"]
)
def test_where_inotify_is_used_up_nothing_wakes_us_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def used_up(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(libc, call, used_up)
    with inotify.Inotify() as watches:
        watches.watch(tmp_path)
        (tmp_path / "new").touch()
        assert watches.misses
        assert [] == watches.read()
        assert not select.select([watches], [], [], 0.01)[0]
        watches.unwatch(tmp_path)
