"""`--timings`: its phases add up to the wall clock, from the start of the process that was typed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from launcher.cli.timings import Timings
from launcher.journal.events import Created, Entry, Finished, FirstOutput, Leased, Started


@pytest.fixture
def a_client_that_was_typed_a_second_ago() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as client:
        time.sleep(1)
        Timings.typed = client.pid
        yield client.pid
        Timings.typed = None
        client.kill()


def _seconds(lines: list[str]) -> dict[str, float]:
    return {line.rsplit(maxsplit=2)[0].strip(): float(line.split()[-2]) for line in lines}


def test_what_comes_between_two_phases_is_a_part_of_the_later_one(a_client_that_was_typed_a_second_ago: int) -> None:
    timings = Timings()
    with timings.phase("plan"):
        time.sleep(0.01)
    time.sleep(0.3)
    with timings.phase("build"):
        time.sleep(0.01)
    shown = _seconds(timings.lines())
    assert shown["build"] >= 0.3
    assert shown["= together"] == pytest.approx(shown["command"] + shown["plan"] + shown["build"], abs=0.01)


@pytest.mark.usefixtures("a_client_that_was_typed_a_second_ago")
def test_a_command_begins_when_the_client_of_a_warm_helper_was_started() -> None:
    timings = Timings()
    with timings.phase("compose"):
        pass
    assert _seconds(timings.lines())["command"] >= 1


@pytest.mark.usefixtures("a_client_that_was_typed_a_second_ago")
def test_the_journal_of_a_run_tells_the_rest_up_to_the_first_output_and_the_end() -> None:
    timings = Timings()
    with timings.phase("build"):
        pass
    now = time.time()
    events = (Created(), Leased(), Started(), FirstOutput(), Finished(exit_code=0))
    timings.add_run([Entry(now + number, event) for number, event in enumerate(events, 1)], ended_at=now + 6)
    shown = _seconds(timings.lines())
    assert [round(shown[name]) for name in ("create", "lease", "start", "first output", "run", "record")] == [1] * 6
    began_s = shown["command"] + shown["build"]
    assert shown["= to the first output"] == pytest.approx(began_s + 4, abs=0.1)
    assert shown["= together"] == pytest.approx(began_s + 6, abs=0.1)


@pytest.mark.usefixtures("a_client_that_was_typed_a_second_ago")
def test_a_run_that_said_nothing_has_no_first_output() -> None:
    timings = Timings()
    with timings.phase("build"):
        pass
    now = time.time()
    timings.add_run([Entry(now, Started()), Entry(now + 1, Finished(exit_code=0))], ended_at=now + 1)
    assert "= to the first output" not in _seconds(timings.lines())
