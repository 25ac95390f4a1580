"""The journal: whole lines only, whatever happens to the writer; every event comes back as it was written, none is fatal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest
from journal_lines import names_in, write_event

from launcher.errors import LaunchError
from launcher.journal import events
from launcher.journal.events import Created, Entry, Finished, FirstOutput, Leased, Note, Started, Unknown
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_journal import Follower, Journal, read_state

EXAMPLES: dict[str, Any] = {"int": 3, "float": 0.5, "str": "word", "bool": True, "dict[str, Any]": {"cpu": "EPYC"}}
LISTS: dict[str, Any] = {"tuple[str, ...]": ("a", "b"), "tuple[int, ...]": (0, 1), "tuple[float, ...]": (0.25, 1.0)}


def example_of(kind: type[Any]) -> Any:
    """An event with something in every field."""
    words = [kind.__annotations__[field].removesuffix(" | None") for field in kind._fields]
    return kind(*(EXAMPLES[word] if word in EXAMPLES else LISTS[word] for word in words))


@pytest.mark.parametrize("kind", events.TYPES.values(), ids=events.TYPES.keys())
def test_an_event_comes_back_as_it_was_written(kind: type[Any]) -> None:
    entry = Entry(1.5, example_of(kind), "17.0")
    assert entry == events.decode(events.encode(entry))


def test_every_type_of_event_has_a_name() -> None:
    assert len(events.TYPES) == len(events.NAMES)


def test_what_a_field_says_by_default_is_not_written() -> None:
    assert {"event": "started", "at": 2.0} == json.loads(events.encode(Entry(2.0, Started(1))))
    assert b'{"event":"first_output","at":2.0}\n' == events.encode(Entry(2.0, FirstOutput()))


def test_the_last_word_is_written_in_full() -> None:
    """Other readers of the file than we look there for how a run ended."""
    said = json.loads(events.encode(Entry(2.0, Finished("launcher", 125))))
    assert ("launcher", 125, None) == (said["reason"], said["exit_code"], said["signal"])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        pytest.param({"event": "teleported", "to": "mars"}, "teleported", id="of a newer launch"),
        pytest.param({"event": "waiting", "place": 1}, "waiting", id="a field is missing"),
        pytest.param({"event": "leased", "gpus": "GPU-a"}, "leased", id="a field of another type"),
    ],
)
def test_an_event_that_nobody_understands_is_kept_and_changes_nothing(tmp_path: Path, line: dict[str, Any], name: str) -> None:
    path = tmp_path / "journal.jsonl"
    write_event(path, "created", run_id="abc")
    write_event(path, line.pop("event"), at=3.0, **line)
    run = read_state(path)
    assert [Unknown(name, line)] == run.unknown
    assert ("created", 3.0) == (run.phase, run.last_at)


def test_a_torn_line_is_left_out_and_does_not_hide_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event":"created","at":1}\n{"event":"bui\n{"event":"started","at":2}\n{"event":"finis')
    follower = Follower(path)
    assert [Created(), Started()] == [entry.event for entry in follower.new_entries()]
    assert not follower.state.is_over


def test_what_a_killed_writer_left_of_a_line_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event":"created","at":1}\n{"event":"lea')
    Journal(path).append(Finished("lost", 125))
    assert "lost" == getattr(read_state(path).finished, "reason", None)


def test_a_follower_sees_each_event_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    follower = Follower(path)
    assert [] == follower.new_entries()
    Journal(path).append(Created("abc"))
    with path.open("a") as file:
        file.write('{"event":"note","at":3')
    assert [Created("abc")] == [entry.event for entry in follower.new_entries()]
    with path.open("a") as file:
        file.write("}\n")
    assert [Note()] == [entry.event for entry in follower.new_entries()]
    assert [] == follower.new_entries()


def test_a_file_that_was_missed_for_long_is_read_in_slices(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100)) + b"half")
    file = GrowingFile(path, slice_bytes=64)
    assert [b"line %d" % number for number in range(100)] == file.new_lines()
    assert [] == file.new_lines()


def test_a_line_that_is_longer_than_a_slice_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 1000 + b"\nnext\n")
    assert [b"x" * 1000, b"next"] == GrowingFile(path, slice_bytes=64).new_lines()


def test_a_full_disk_is_said_with_the_events_name(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot write event `started`"):
        Journal(Path("/dev/full")).append(Started(1))


def test_a_journal_is_private_and_never_opened_through_a_link(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").append(Created("abc"))
    assert 0o600 == (tmp_path / "journal.jsonl").stat().st_mode & 0o777
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LaunchError, match="symbolic links"):
        Journal(tmp_path / "link").append(Created("abc"))
    assert not (tmp_path / "elsewhere").exists()


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    children = []
    for number in range(2):
        pid = os.fork()
        if pid == 0:
            for count in range(200):
                Journal(path).append(Note(f"{number} {count} " + "x" * 500))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    # A line that is looked at while another writes it may get a newline too many: an empty line, which nobody reads.
    assert ["note"] * 400 == names_in(path)


def test_gpus_of_a_lease_count_in_parts_where_it_has_parts() -> None:
    assert (2, 0.25) == (Leased(("GPU-a", "GPU-b")).gpu_count, Leased(("GPU-a",), (0.25,)).gpu_count)


def test_the_union_of_events_names_every_type() -> None:
    """`Event` is for type checkers; what it leaves out they would not check."""
    source = Path(events.__file__).read_text()
    union = source[source.index("Event = (") : source.index("else:")]
    assert all(f"{kind.__name__}\n" in union for kind in (*events.TYPES.values(), Unknown)), get_args(union)
