"""Which lines of a journal count when a job was begun twice (`fencing.py`), and who finds out (`superseded.py`)."""

from __future__ import annotations

import os

import pytest
from journal_lines import write_event

from launcher.journal.events import Created, Finished, Note, name_of
from launcher.journal.run_journal import Follower, Journal, read_state
from launcher.journal.superseded import Watch


class Writer:
    """A journal that several placements write to, as processes of several nodes do."""

    def __init__(self, path):
        self.path = path

    def __call__(self, event, placement=None, **fields):
        token = {} if placement is None else {"placement": placement}
        write_event(self.path, event, at=1.0, **fields, **token)

    def events(self):
        return [entry.event for entry in Follower(self.path).new_entries()]

    def names(self):
        return [name_of(event) for event in self.events()]

    def texts(self):
        return [event.text for event in self.events() if isinstance(event, Note)]


@pytest.fixture
def write(tmp_path):
    writer = Writer(tmp_path / "journal.jsonl")
    writer("created")
    writer("submitted", job="17", engine="slurm")
    return writer


def test_what_a_superseded_placement_writes_later_is_not_read(write):
    write("placed", "17.0")
    write("note", "17.0", text="before")
    write("placed", "17.1")
    write("note", "17.0", text="too late")
    write("finished", "17.0", reason="completed")
    write("note", "17.1", text="mine")
    assert ["before", "mine"] == write.texts()
    assert "finished" not in write.names()


def test_a_first_copy_that_is_so_slow_that_it_begins_last_has_nothing_to_say(write):
    write("placed", "17.1")
    write("placed", "17.0")
    write("note", "17.0", text="slow")
    write("note", "17.1", text="mine")
    assert ["mine"] == write.texts()
    assert 1 == write.names().count("placed")


def test_restarts_are_numbers_and_not_words(write):
    write("placed", "17.9")
    write("placed", "17.10")
    write("note", "17.10", text="tenth")
    assert ["tenth"] == write.texts()


def test_the_job_of_a_life_before_is_fenced_by_resume_alone(write):
    write("placed", "17.0")
    write("finished", reason="lost")
    write("resumed")
    write("note", "17.0", text="I live")
    write("placed", "17.1")
    write("submitted", job="18", engine="slurm")
    write("placed", "18.0")
    write("placed", "17.2")
    write("note", "18.0", text="mine")
    assert ["mine"] == write.texts()


def test_a_life_that_was_closed_from_outside_takes_no_more_words(write):
    write("placed", "17.0")
    write("finished", reason="lost")
    write("finished", "17.0", reason="completed")
    assert ["lost"] == [event.reason for event in write.events() if isinstance(event, Finished)]


def test_words_of_the_submitting_machine_always_count(write):
    write("placed", "17.0")
    write("paused")
    write("note", text="from outside")
    assert ["from outside"] == write.texts()


def test_a_follower_that_reads_piece_by_piece_sees_what_one_that_reads_all_sees(write):
    follower, seen = Follower(write.path), []
    for line in (("placed", "17.0"), ("note", "17.0"), ("placed", "17.1"), ("note", "17.0"), ("started", "17.1")):
        write(*line)
        seen += [name_of(entry.event) for entry in follower.new_entries()]
    assert write.names() == seen


def test_a_torn_placed_places_nothing(write):
    write("placed", "17.0")
    with write.path.open("a") as file:
        file.write('{"event": "placed", "at": 2.0, "placement": "17.1"')
    assert not Watch(write.path, "17.0").is_superseded()


@pytest.mark.parametrize(
    ("line", "superseded"),
    [
        pytest.param(("placed", "17.1"), True, id="placed again"),
        pytest.param(("resumed",), True, id="resumed"),
        pytest.param(("finished",), True, id="closed from outside"),
        pytest.param(("finished", "17.0"), False, id="its own end"),
        pytest.param(("note",), False, id="a note from outside"),
    ],
)
def test_a_placement_knows_when_the_run_goes_on_without_it(write, line, superseded):
    write("placed", "17.0")
    watch = Watch(write.path, "17.0")
    assert not watch.is_superseded()
    write(*line)
    assert superseded is watch.is_superseded()


def test_a_run_of_ones_own_machine_signs_nothing(tmp_path):
    Journal(tmp_path / "journal.jsonl").append(Created())
    assert os.path.getsize(tmp_path / "journal.jsonl") < 60


def test_what_is_known_of_a_placement_is_forgotten_when_the_next_begins(write):
    write("placed", "17.0")
    write("queued", "17.0")
    assert read_state(write.path).is_queued
    write("placed", "17.1")
    assert not read_state(write.path).is_queued
