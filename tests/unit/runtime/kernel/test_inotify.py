"""Changes of files wake us."""

from __future__ import annotations

import select
from pathlib import Path

from runtime.kernel import inotify


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
