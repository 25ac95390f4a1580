"""The reason of an ending comes from what the launcher did and saw, not from the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.journal.status import Reason, RunStatus
from launcher.run.supervisor.outcome import outcome_of
from runtime.cgroup.oom import OomKills
from runtime.container.spec import ProcessExit


@pytest.mark.parametrize(
    ("program", "asked", "oom_kills", "expected"),
    [
        pytest.param(ProcessExit(0, None), None, 0, (0, Reason.COMPLETED), id="success"),
        pytest.param(ProcessExit(3, None), None, 0, (3, Reason.PROGRAM), id="its own code"),
        pytest.param(ProcessExit(None, 11), None, 0, (139, Reason.PROGRAM), id="segmentation fault"),
        pytest.param(ProcessExit(None, 9), None, 1, (137, Reason.OOM), id="killed at the memory limit"),
        pytest.param(ProcessExit(3, None), None, 2, (3, Reason.OOM), id="gave up after a child was killed"),
        pytest.param(ProcessExit(0, None), None, 2, (0, Reason.COMPLETED), id="survived a killed child"),
        pytest.param(ProcessExit(1, None), Reason.STOPPED, 0, (1, Reason.STOPPED), id="torchrun exits 1 after our stop"),
        pytest.param(ProcessExit(0, None), Reason.INTERRUPTED, 0, (130, Reason.INTERRUPTED), id="saved after Ctrl-C"),
        pytest.param(ProcessExit(None, 15), Reason.INTERRUPTED, 0, (130, Reason.INTERRUPTED), id="ended by our SIGTERM"),
        pytest.param(ProcessExit(143, None), Reason.INTERRUPTED, 0, (130, Reason.INTERRUPTED), id="its child ended by it"),
        pytest.param(ProcessExit(3, None), Reason.INTERRUPTED, 0, (3, Reason.INTERRUPTED), id="could not save after Ctrl-C"),
        pytest.param(ProcessExit(None, 9), Reason.STOPPED, 0, (137, Reason.STOPPED), id="killed after its grace"),
        pytest.param(ProcessExit(0, None), Reason.TIMEOUT, 0, (124, Reason.TIMEOUT), id="timeout"),
        pytest.param(None, None, 0, (125, Reason.LOST), id="nobody could say"),
        pytest.param(None, Reason.STOPPED, 0, (137, Reason.STOPPED), id="we killed init"),
        pytest.param(None, Reason.TIMEOUT, 0, (124, Reason.TIMEOUT), id="we killed init at the end of its time"),
        pytest.param(None, None, 3, (137, Reason.OOM), id="the kernel killed init as well"),
    ],
)
def test_exit_code_and_reason(
    program: ProcessExit | None, asked: Reason | None, oom_kills: int, expected: tuple[int, Reason]
) -> None:
    outcome = outcome_of(program, asked=asked, oom=OomKills(oom_kills) if oom_kills else None)
    assert expected == (outcome.exit_code, outcome.reason)


@pytest.mark.parametrize(
    ("oom", "words"),
    [
        (
            OomKills(1, limit_bytes=64 << 20),
            "1 of its processes was killed at the memory limit of 64 MiB; the peak of all was 60 MiB",
        ),
        (
            OomKills(2, limit_bytes=3 << 29),
            "2 of its processes were killed at the memory limit of 1.5 GiB; the peak of all was 60 MiB",
        ),
        (
            OomKills(1, own=False, limit_bytes=2 << 30, cgroup=Path("/job")),
            "1 of its processes was killed at the memory limit of 2 GiB that `/job`, around it, has; the peak of all was 60 MiB",
        ),
        (
            OomKills(1, own=False),
            "1 of its processes was killed because this machine ran out of memory; the peak of all was 60 MiB",
        ),
    ],
)
def test_a_killed_process_is_told_with_the_limit_and_the_peak(oom: OomKills, words: str) -> None:
    assert words == outcome_of(ProcessExit(None, 9), oom=oom, peak_bytes=60 << 20).detail


def test_a_run_that_outlives_a_killed_process_says_so() -> None:
    detail = outcome_of(ProcessExit(0, None), oom=OomKills(1, limit_bytes=64 << 20)).detail
    assert "1 of its processes was killed at the memory limit of 64 MiB; the program went on" == detail


def test_without_a_cgroup_the_kernels_kills_are_no_more_than_a_suspicion() -> None:
    killed = outcome_of(ProcessExit(None, 9), kills_elsewhere=1)
    assert Reason.PROGRAM is killed.reason
    assert "nobody can say whether it was one of them" in (killed.detail or "")
    assert outcome_of(ProcessExit(1, None), kills_elsewhere=1).detail is None


def test_only_failures_that_nobody_asked_for_are_tried_again() -> None:
    asked = ("program", "oom")
    assert outcome_of(ProcessExit(1, None)).is_worth_a_retry(asked)
    assert outcome_of(ProcessExit(None, 9), oom=OomKills(1, limit_bytes=1 << 20)).is_worth_a_retry(asked)
    assert not outcome_of(ProcessExit(1, None), asked=Reason.STOPPED).is_worth_a_retry(asked)
    assert not outcome_of(ProcessExit(0, None)).is_worth_a_retry(asked)


def test_without_being_asked_only_what_the_machine_did_is_tried_again() -> None:
    assert not outcome_of(ProcessExit(1, None)).is_worth_a_retry()
    assert not outcome_of(ProcessExit(None, 9), oom=OomKills(1, limit_bytes=1 << 20)).is_worth_a_retry()
    assert outcome_of(ProcessExit(None, 9), oom=OomKills(1, own=False)).is_worth_a_retry()
    assert outcome_of(ProcessExit(1, None), asked=Reason.GPU_LOST).is_worth_a_retry()
    assert outcome_of(ProcessExit(1, None), asked=Reason.PREEMPTED).is_worth_a_retry()


def test_a_stopped_run_is_killed_in_mlflows_words() -> None:
    assert RunStatus.KILLED is Reason.STOPPED.status


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_stands_in_the_guide_with_its_status(reason: Reason) -> None:
    guide = (Path(__file__).parents[4] / "docs/guides/tracking.md").read_text()
    assert f"| `{reason}` | {reason.status} |" in guide
