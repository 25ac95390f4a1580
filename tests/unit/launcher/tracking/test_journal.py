"""The journal: whole lines only, whatever happens to the writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.errors import LaunchError
from launcher.journal import journal


def test_events_come_back_in_order_with_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.append(path, "created", at=1.5, params={"lr": 0.1}, run_id="abc")
    journal.append(path, "finished", reason="completed")
    first, second = journal.read(path)
    assert ("created", 1.5, {"params": {"lr": 0.1}, "run_id": "abc"}) == (first.name, first.at, first.fields)
    assert ("finished", "completed") == (second.name, second.get("reason"))
    assert 0o600 == path.stat().st_mode & 0o777


def test_a_torn_line_is_left_out_and_does_not_hide_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event":"created","at":1}\n{"event":"bui\n{"event":"started","at":2}\n{"event":"finis')
    assert ["created", "started"] == [event.name for event in journal.read(path)]


def test_what_a_killed_writer_left_of_a_line_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event":"created","at":1}\n{"event":"lea')
    journal.append(path, "finished", reason="lost")
    assert ["created", "finished"] == [event.name for event in journal.read(path)]


def test_a_follower_sees_each_event_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    follower = journal.Follower(path)
    assert [] == follower.new_events()
    journal.append(path, "created")
    with path.open("a") as file:
        file.write('{"event":"note","at":3')
    assert ["created"] == [event.name for event in follower.new_events()]
    with path.open("a") as file:
        file.write("}\n")
    assert ["note"] == [event.name for event in follower.new_events()]
    assert [] == follower.new_events()


def test_an_unknown_event_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown journal event"):
        journal.append(tmp_path / "journal.jsonl", "exploded")


def test_a_full_disk_is_said_with_the_events_name() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(LaunchError, match="cannot write event `started`"):
        journal.append(full.fileno(), "started")


def test_a_journal_is_never_opened_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        journal.append(tmp_path / "journal.jsonl", "created")
    assert not (tmp_path / "elsewhere").exists()


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            for count in range(200):
                journal.append(path, "note", writer=number, count=count, padding="x" * 500)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    # A line that is looked at while another writes it may get a newline too many: an empty line, which nobody reads.
    assert 400 == len([json.loads(line) for line in path.read_text().splitlines() if line])


def test_the_beginning_is_the_first_whole_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert journal.began_at(path) is None
    path.write_text('{"event":"crea')
    assert journal.began_at(path) is None
    journal.append(path, "created", at=5.0)
    journal.append(path, "queued", at=6.0)
    assert 5.0 == journal.began_at(path)
