"""A run as its journal tells it, and finding one by what a person types."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from journal_lines import write_event

from launcher.errors import ConfigError
from launcher.journal.status import Reason, RunStatus
from launcher.run.start.create_run import new_run_dir
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.file_lock import locked
from runtime.kernel.process_identity import is_same_process, process_started
from runtime.state_dir import RunDir, StateDir

HERE = {"pid": os.getpid(), "pid_started": process_started(os.getpid())}


def a_run(state: StateDir, run_id: str, *events: tuple[str, float, dict[str, Any]]) -> RunDir:
    run_dir = state.run(run_id)
    run_dir.root.mkdir()
    for name, at, fields in events:
        write_event(run_dir.journal, name, at=at, **fields)
    return run_dir


def folded(run_dir: RunDir) -> RunRecord:
    record = fold(run_dir)
    assert record is not None
    return record


def test_a_run_from_beginning_to_end(state: StateDir) -> None:
    run_dir = a_run(
        state,
        "7f3a9c",
        ("created", 100, {"experiment": "digits", "params": {"lr": 0.1}, "seed": 3, "overrides": ["seed=3"]}),
        ("queued", 101, {"image_digest": "sha256:1"}),
        ("started", 102, {"attempt": 1}),
        ("finished", 107.5, {"reason": "completed", "exit_code": 0, "usage": {"cpu_seconds": 5}}),
    )
    run_dir.last_metrics.write_text('{"loss": 0.25}')
    run_dir.mlflow.write_text('{"run_id": "feed", "experiment_id": "1", "ui_uri": "http://127.0.0.1:5000"}')
    record = folded(run_dir)
    assert (RunStatus.FINISHED, "completed", 0, 5.5) == (record.status, record.reason, record.exit_code, record.duration_s)
    assert ("sha256:1", {"lr": 0.1}, {"loss": 0.25}, ("seed=3",)) == (
        record.image_digest,
        record.params,
        record.metrics,
        record.overrides,
    )
    assert "http://127.0.0.1:5000/#/experiments/1/runs/feed?workflowType=machine_learning" == record.mlflow_url
    document = json.loads(json.dumps(record.to_json()))
    assert ("FINISHED", "1970-01-01T00:01:47.500Z") == (document["status"], document["finished_at"])


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.COMPLETED, "FINISHED"),
        *((reason, "FAILED") for reason in (Reason.PROGRAM, Reason.OOM, Reason.TIMEOUT, Reason.GPU_LOST, Reason.LAUNCHER)),
        *((reason, "KILLED") for reason in (Reason.STOPPED, Reason.INTERRUPTED, Reason.PREEMPTED, Reason.PRUNED, Reason.LOST)),
    ],
)
def test_the_status_follows_from_the_reason(reason: Reason, status: str) -> None:
    assert status == reason.status


def test_a_run_that_waits_is_scheduled_and_one_that_runs_is_running(state: StateDir) -> None:
    run_dir = a_run(state, "aaaaaa", ("created", 1, HERE))
    assert (RunStatus.SCHEDULED, True) == (folded(run_dir).status, folded(run_dir).alive)
    write_event(run_dir.journal, "started", init_pid=os.getpid(), init_started=HERE["pid_started"])
    assert (RunStatus.RUNNING, "started") == (folded(run_dir).status, folded(run_dir).phase)


def test_a_run_that_nobody_tends_is_lost(state: StateDir) -> None:
    run_dir = a_run(
        state, "aaaaaa", ("created", 1, {"pid": os.getpid(), "pid_started": 1}), ("started", 2, {"init_pid": 2**22 + 1})
    )
    assert (RunStatus.KILLED, "lost", False) == (folded(run_dir).status, folded(run_dir).reason, folded(run_dir).alive)
    with locked(run_dir.supervisor_lock):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if folded(run_dir).status is RunStatus.RUNNING else 1)
        assert 0 == os.waitpid(pid, 0)[1]


def test_a_resumed_run_runs_again_and_counts_only_the_time_of_its_attempts(state: StateDir) -> None:
    run_dir = a_run(
        state,
        "aaaaaa",
        ("created", 0, HERE),
        ("started", 10, {"attempt": 1}),
        ("attempt", 15, {"attempt": 1, "reason": "program", "exit_code": 1}),
        ("started", 20, {"attempt": 2}),
        ("finished", 21, {"reason": "preempted", "exit_code": 143}),
    )
    assert (6, 143, 2) == (folded(run_dir).duration_s, folded(run_dir).exit_code, folded(run_dir).attempt)
    for name, at in (("queued", 1000), ("started", 1001)):
        write_event(run_dir.journal, name, at=at, init_pid=os.getpid())
    assert (RunStatus.RUNNING, None) == (folded(run_dir).status, folded(run_dir).exit_code)
    write_event(run_dir.journal, "finished", at=1003, reason="completed", exit_code=0)
    assert (RunStatus.FINISHED, 8) == (folded(run_dir).status, folded(run_dir).duration_s)


def test_the_note_of_the_command_line_is_in_the_record(state: StateDir) -> None:
    a_run(state, "c0ffee", ("created", 1, {"note": "with the new loader"}), ("note", 2, {"text": "a limit is not enforced"}))
    record = find_run(state, "c0ffee")
    assert ("with the new loader", ("a limit is not enforced",)) == (record.note, record.notes)


def test_a_directory_without_a_journal_is_no_run(state: StateDir) -> None:
    new_run_dir(state)
    (state.runs / "notes").mkdir()
    assert [] == list_runs(state)


def test_a_run_is_found_by_what_a_person_types(state: StateDir) -> None:
    for number, run_id in enumerate(("7f3a9c", "7f0000", "abcdef")):
        a_run(state, run_id, ("created", number, {"name": "best" if number < 2 else "other"}))
    state.run("abcdef").mlflow.write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    found = {
        reference: find_run(state, reference).run_id
        for reference in ("7f3a9c", "7f3", "@last", "@last~2", "best", "0123456789abcdef0123456789abcdef")
    }
    assert ["7f3a9c", "7f3a9c", "abcdef", "7f3a9c", "7f0000", "abcdef"] == list(found.values())


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("7f", "is the beginning of 2 runs"),
        ("zz", "no run `zz`"),
        ("@last~9", "there are 2"),
        ("@first", "not a run"),
        ("../x", "no run"),
    ],
)
def test_what_means_no_run_or_several_is_exit_2(state: StateDir, reference: str, words: str) -> None:
    for run_id in ("7f3a9c", "7f0000"):
        a_run(state, run_id, ("created", 1, {}))
    with pytest.raises(ConfigError, match=words.replace("`", ".")) as failure:
        find_run(state, reference)
    assert 2 == failure.value.exit_code


def test_a_clock_that_was_ahead_does_not_take_the_last_run(state: StateDir) -> None:
    now = time.time()
    for run_id, at in (("7f3a9c", now - 60), ("7f0000", now + 86_400), ("c0ffee", now + 90_000), ("abcdef", now - 5)):
        a_run(state, run_id, ("created", at, {}))
    assert ["7f0000", "c0ffee", "7f3a9c", "abcdef"] == [run.run_id for run in list_runs(state)]
    assert "abcdef" == find_run(state, "@last").run_id


def test_the_last_of_no_runs(state: StateDir) -> None:
    with pytest.raises(ConfigError, match="no run `@last`: there are no runs yet"):
        find_run(state, "@last")
    a_run(state, "7f3a9c", ("created", 1, {}))
    with pytest.raises(ConfigError, match=r"no run `@last~1`: there is 1 run$"):
        find_run(state, "@last~1")


def test_a_reused_process_number_is_not_the_process() -> None:
    started = process_started(os.getpid())
    assert started is not None
    assert is_same_process(os.getpid(), started)
    boot, _, ticks = started.partition("+")
    assert not is_same_process(os.getpid(), f"{boot}+{int(ticks) + 1}")
    assert not is_same_process(os.getpid(), f"{boot[::-1]}+{ticks}"), "of another boot"
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process_started(pid) is None, "a zombie tends to nothing"
    os.waitpid(pid, 0)


def test_what_a_run_takes_from_the_machine_does_not_rename_it(state: StateDir) -> None:
    run_dir = new_run_dir(state)
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="digits", name="warm-up")
    write_event(run_dir.journal, "acquired", kind="cgroup", name=f"launch-{run_dir.run_id}")
    assert find_run(state, "warm-up").name == "warm-up"


def test_a_record_is_strict_json_whatever_the_metrics_are(state: StateDir) -> None:
    run_dir = new_run_dir(state)
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="digits", params={"a": [float("nan")]})
    run_dir.last_metrics.write_text('{"loss": NaN, "up": Infinity, "down": -Infinity, "fine": 0.5}')
    document = json.loads(json.dumps(find_run(state, run_dir.run_id).to_json(), allow_nan=False))
    assert document["metrics"] == {"loss": "NaN", "up": "Infinity", "down": "-Infinity", "fine": 0.5}
    assert document["params"] == {"a": ["NaN"]}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(["waiting"], "place 1 of 2 in line for 1 GPU: 0 of 4 free", id="in the line"),
        pytest.param(["waiting", "note"], "place 1 of 2 in line for 1 GPU: 0 of 4 free", id="and a note"),
        pytest.param(["waiting", "leased"], None, id="it has them"),
        pytest.param(
            ["waiting", "leased", "started", "attempt", "waiting"], "place 1 of 2 in line for 1 GPU: 0 of 4 free", id="again"
        ),
        pytest.param(["waiting", "stopping"], None, id="called off"),
        pytest.param([], None, id="nothing to wait for"),
    ],
)
def test_what_a_run_in_the_line_waits_for(state: StateDir, events: list[str], expected: str | None) -> None:
    waiting = {"place": 1, "of": 2, "text": "1 GPU: 0 of 4 free"}
    fields = {"waiting": waiting, "stopping": {"reason": "stopped"}, "attempt": {"attempt": 1, "reason": "oom"}}
    happened = [(name, 2 + number, fields.get(name, {})) for number, name in enumerate(events)]
    record = fold(a_run(state, "aaaaaa", ("created", 1, HERE), *happened))
    assert record is not None
    assert record.waits_for == expected
    assert record.phase != "waiting"
