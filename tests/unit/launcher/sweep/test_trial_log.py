"""The log of a sweep's trials is the truth: it is read again whole, whatever killed its writer."""

from __future__ import annotations

from pathlib import Path

from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.search.study import Suggestion
from launcher.sweep.trial_log import TrialLog, Verdict, read_total, read_trials

FIRST = Suggestion(1, 1, ("params.x=1",))
SECOND = Suggestion(2, 2, ("params.x=2",))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "trials.jsonl")
    log.asked(FIRST)
    log.started(1, "aaa", FIRST.overrides)
    log.ended(1, "aaa", Verdict.AGAIN, reason="lost")
    log.started(1, "bbb", FIRST.overrides)
    log.ended(1, "bbb", Verdict.COMPLETE, reason="completed", end=End(EndState.COMPLETE, (0.5,), (-1.0,)))
    log.asked(SECOND)
    log.started(2, "ccc", SECOND.overrides)
    first, second = read_trials(tmp_path / "trials.jsonl").values()
    assert first.asked == FIRST
    assert first.end
    assert ("bbb", End(EndState.COMPLETE, (0.5,), (-1.0,))) == (first.end.run_id, first.end.end)
    assert ["lost", "completed"] == [each.reason for each in first.tries]
    assert (SECOND, None, [None]) == (second.asked, second.end, [each.verdict for each in second.tries])


def test_how_many_there_are_is_what_was_said_last(tmp_path: Path) -> None:
    """Of a sweep that was killed the log alone knows it."""
    path = tmp_path / "trials.jsonl"
    assert read_total(path) is None
    log = TrialLog(path)
    log.total(8)
    log.asked(FIRST)
    log.total(5)
    assert 5 == read_total(path)


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    log = TrialLog(path)
    log.asked(FIRST)
    with path.open("ab") as file:
        file.write(b'{"event":"asked","numb')
    log = TrialLog(path)
    log.asked(SECOND)
    assert [1, 2] == list(read_trials(path))


def test_a_sweep_without_a_log_has_no_trials(tmp_path: Path) -> None:
    assert {} == read_trials(tmp_path / "none.jsonl")
