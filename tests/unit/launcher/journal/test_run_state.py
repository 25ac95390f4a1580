"""What a run is after what happened to it: the one fold of its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journal_lines import state_after

from launcher.journal.events import TOOK_OVER
from launcher.journal.placement import Job
from launcher.journal.status import RunStatus, Stage

STOPPED = {"reason": "stopped"}
ENDED = {"attempt": 1, "reason": "oom", "exit_code": 137}


@pytest.mark.parametrize(
    ("happened", "phase", "stage", "status"),
    [
        pytest.param([("created", 0)], "created", Stage.STARTING, RunStatus.SCHEDULED, id="written down"),
        pytest.param([("created", 0), ("queued", 1)], "queued", Stage.STARTING, RunStatus.SCHEDULED, id="a supervisor has it"),
        pytest.param(
            [("queued", 1), ("waiting", 2, {"place": 1, "of": 2, "text": "a GPU"})],
            "queued",
            Stage.QUEUED,
            RunStatus.SCHEDULED,
            id="in the queue for GPUs",
        ),
        pytest.param([("queued", 1), ("leased", 2)], "queued", Stage.HOLDING, RunStatus.SCHEDULED, id="leased"),
        pytest.param([("leased", 2), ("started", 3)], "started", Stage.HOLDING, RunStatus.RUNNING, id="runs"),
        pytest.param(
            [("leased", 2), ("started", 3), ("attempt", 4, ENDED)], "attempt", Stage.STARTING, RunStatus.RUNNING, id="again"
        ),
        pytest.param(
            [("started", 3), ("stopping", 4, {"reason": "stopped"})], "stopping", Stage.STARTING, RunStatus.RUNNING, id="asked"
        ),
        pytest.param(
            [("started", 3), ("finished", 4, {"reason": "stopped"})], "finished", Stage.ENDED, RunStatus.KILLED, id="over"
        ),
        pytest.param([("finished", 4), ("resumed", 5)], "resumed", Stage.STARTING, RunStatus.SCHEDULED, id="another life"),
    ],
)
def test_where_a_run_is(tmp_path: Path, happened: list[Any], phase: str, stage: Stage, status: RunStatus) -> None:
    run = state_after(tmp_path, *happened)
    assert (phase, stage, status) == (run.phase, run.stage, run.status[0])


def test_an_attempt_is_counted_over_all_lives_and_retries_in_each_placement(tmp_path: Path) -> None:
    happened: list[Any] = [("created", 0), ("started", 1), ("attempt", 2, ENDED), ("started", 3)]
    assert (2, 1) == ((run := state_after(tmp_path, *happened)).next_attempt, run.retries_used)
    happened += [("finished", 4), ("resumed", 5), ("started", 6)]
    assert (3, 0) == ((run := state_after(tmp_path, *happened)).next_attempt, run.retries_used)


def test_what_is_said_of_an_attempt_is_forgotten_with_it(tmp_path: Path) -> None:
    happened: list[Any] = [
        ("leased", 1, {"gpus": ["GPU-a"]}),
        ("acquired", 1, {"kind": "cgroup", "name": "launch-1"}),
        ("started", 2),
    ]
    happened += [("first_output", 3), ("stopping", 4, {"reason": "timeout"})]
    run = state_after(tmp_path, *happened)
    assert (True, True, True, True) == (run.has_acquired, run.has_started, run.has_output, run.stopping is not None)
    run = state_after(tmp_path, *happened, ("attempt", 5, ENDED))
    assert (False, False, False, None, None) == (run.has_acquired, run.has_started, run.has_output, run.stopping, run.leased)
    assert ["cgroup"] == [each.kind for each in run.acquired]  # to be given back all the same


def test_a_takeover_counts_in_its_own_life_only(tmp_path: Path) -> None:
    happened: list[Any] = [("note", 1, {"text": TOOK_OVER}), ("note", 2, {"text": TOOK_OVER}), ("note", 3, {"text": "cold"})]
    assert 2 == state_after(tmp_path, *happened).takeovers
    assert 0 == state_after(tmp_path, *happened, ("finished", 4), ("resumed", 5)).takeovers


def test_the_programs_time_is_that_of_all_attempts(tmp_path: Path) -> None:
    happened: list[Any] = [("started", 10), ("attempt", 15, ENDED), ("started", 20)]
    assert 5 + 10 == state_after(tmp_path, *happened).running_s(30)
    assert 5 + 4 + 1 == state_after(tmp_path, *happened, ("finished", 24), ("resumed", 90), ("started", 91)).running_s(92)
    assert state_after(tmp_path, ("queued", 1)).running_s() is None


def test_a_run_is_its_clusters_from_its_submission_to_its_end(tmp_path: Path) -> None:
    submitted: Any = ("submitted", 1, {"engine": "slurm", "job": "17"})
    assert Job("slurm", "17") == state_after(tmp_path, ("created", 0), submitted).job
    run = state_after(tmp_path, ("created", 0), submitted, ("finished", 2))
    assert (None, "17") == (run.job, run.last_job)


def test_nodes_are_known_by_what_the_first_one_and_the_others_said(tmp_path: Path) -> None:
    run = state_after(
        tmp_path,
        ("placed", 1, {"job": "17", "node": "gpu03", "host": "gpu03.lab", "placement": "17.0"}),
        ("queued", 2, {"facts": {"cpu": "EPYC", "machine_cpus": 64}, "placement": "17.0"}),
        ("joined", 3, {"node": 1, "about": {"name": "gpu07", "cpu": "Xeon", "secret": 1}}),
        ("left", 4, {"node": 1, "ending": {"reason": "program", "exit_code": 1}}),
    )
    first = {"node": 0, "name": "gpu03", "host": "gpu03.lab", "cpu": "EPYC"}
    assert {0: first, 1: {"node": 1, "name": "gpu07", "cpu": "Xeon", "reason": "program", "exit_code": 1}} == run.nodes


def test_a_sweep_that_starts_again_is_not_over(tmp_path: Path) -> None:
    run = state_after(tmp_path, ("started", 1), ("finished", 2, {"reason": "interrupted"}), ("started", 3))
    assert (False, RunStatus.RUNNING) == (run.is_over, run.status[0])


def test_a_reason_that_only_a_newer_launch_knows_is_a_failure(tmp_path: Path) -> None:
    assert RunStatus.FAILED is state_after(tmp_path, ("finished", 2, {"reason": "eaten"})).status[0]


def test_placements_say_who_had_the_run_and_what_is_left_of_them(tmp_path: Path) -> None:
    run = state_after(
        tmp_path,
        ("submitted", 0, {"engine": "slurm", "job": "17"}),
        ("placed", 1, {"job": "17", "node": "a", "placement": "17.0"}),
        ("acquired", 2, {"kind": "cgroup", "name": "x", "placement": "17.0"}),
        ("attempt", 3, {"attempt": 1, "reason": "preempted", "requeued": True, "placement": "17.0"}),
        ("placed", 4, {"job": "17", "node": "b", "attempt": 2, "placement": "17.1"}),
        ("started", 5, {"attempt": 2, "init_pid": 9, "placement": "17.1"}),
    )
    first, second = run.placements
    assert ("17.0", "a", True, False, ["x"]) == (
        first.token,
        first.node,
        first.is_over,
        first.is_open,
        [a.name for a in first.acquired],
    )
    assert ("17.1", "b", False, True, 2) == (second.token, second.node, second.is_over, second.is_open, second.attempt)
    assert "17.1" == run.placement
