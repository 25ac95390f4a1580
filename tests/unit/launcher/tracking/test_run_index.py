"""Ten thousand runs are listed out of one file, which is never the truth."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.errors import ConfigError
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import RunDir, StateDir

RUNS = 30
"""More than are worth writing the file for."""


def _settle(run_dir: RunDir) -> None:
    """As if it had been written long ago."""
    before = time.time() - 60
    for path in (run_dir.journal, run_dir.root):
        os.utime(path, (before, before))


def _ended_run(state: StateDir, number: int) -> None:
    run_dir = state.run(f"{number:06x}")
    run_dir.root.mkdir()
    at = 100.0 * number
    write_event(run_dir.journal, "created", at=at, experiment="digits", params={"lr": number / 7}, overrides=["a=1"])
    write_event(run_dir.journal, "started", at=at + 1, attempt=1)
    usage = {"cpu_s": number / 3}
    write_event(run_dir.journal, "finished", at=at + 2, reason="completed", exit_code=0, usage=usage, facts={"cpu": "x"})
    run_dir.last_metrics.write_text(json.dumps({"loss": 1 / (number + 1)} if number else {"loss": float("nan")}))
    run_dir.mlflow.write_text(json.dumps({"run_id": f"ml{number}", "experiment_id": "1", "ui_uri": "http://127.0.0.1:1"}))
    _settle(run_dir)


@pytest.fixture
def state(state: StateDir) -> StateDir:
    """With thirty runs that have ended."""
    (state.mlflow / "ui_port").write_text("5000")
    for number in range(RUNS):
        _ended_run(state, number)
    return state


def _folded(state: StateDir) -> list[RunRecord]:
    return [record for number in range(RUNS) if (record := fold(state.run(f"{number:06x}"))) is not None]


def _as_json(records: list[RunRecord]) -> str:
    return json.dumps([record.to_json() for record in records])


def _index(state: StateDir) -> Path:
    return state.cache / "runs.json"


def test_the_second_look_says_what_the_first_said(state: StateDir) -> None:
    first = list_runs(state)
    assert _index(state).exists()
    assert _as_json(_folded(state)) == _as_json(first) == _as_json(list_runs(state))


def test_the_second_look_reads_no_journal(state: StateDir) -> None:
    list_runs(state)
    stamp = state.run("000003").journal.stat()
    state.run("000003").journal.write_bytes(b" " * stamp.st_size)  # the same file, as long and as old, and nothing in it
    _settle(state.run("000003"))
    os.utime(state.run("000003").journal, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.utime(state.run("000003").root, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    folded_again = fold(state.run("000003"))
    assert folded_again is None
    assert "000003" in [record.run_id for record in list_runs(state) if record.exit_code == 0]


def test_what_is_told_of_a_run_later_counts(state: StateDir) -> None:
    list_runs(state)
    write_event(state.run("000002").journal, "resumed", pid=os.getpid())
    partial = state.run("000004").root / "new"
    partial.write_text('{"loss": 0.125}')
    partial.rename(state.run("000004").last_metrics)
    (state.mlflow / "ui_port").write_text("6000")
    known = {record.run_id: record for record in list_runs(state)}
    assert (None, True) == (known["000002"].exit_code, known["000002"].alive)
    assert {"loss": 0.125} == known["000004"].metrics
    assert "http://127.0.0.1:6000/#/experiments/1/runs/ml5?workflowType=machine_learning" == known["000005"].mlflow_url


def test_a_removed_run_is_gone_and_a_new_one_is_there(state: StateDir) -> None:
    list_runs(state)
    state.run("000001").root.rename(state.runs / "removed-000001")
    _ended_run(state, RUNS)
    listed = [record.run_id for record in list_runs(state)]
    assert [f"{number:06x}" for number in range(RUNS + 1) if number != 1] == listed
    assert f"{RUNS:06x}" == find_run(state, "@last").run_id


def test_a_record_of_the_index_is_the_one_that_was_folded(state: StateDir) -> None:
    for number in range(RUNS):
        run_dir = state.run(f"{number:06x}")
        write_event(run_dir.journal, "note", text="a note")
        write_event(run_dir.journal, "joined", node=1, about={"name": "n1", "host": "box"})
        _settle(run_dir)
    list_runs(state)
    kept = {record.run_id: record for record in list_runs(state)}
    for folded in _folded(state):
        for name in RunRecord.__dataclass_fields__:
            value = getattr(kept[folded.run_id], name)
            assert repr(getattr(folded, name)) == repr(value if name != "usage" else dict(value)), name


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param({"columns": []}, id="other columns"),
        pytest.param({"columns": {"run_id": {"values": [], "codes": [7]}}}, id="codes of nothing"),
        pytest.param({"columns": {"run_id": {"values": ["000001"]}, "stamp": []}}, id="values that are none"),
    ],
)
def test_an_index_that_was_damaged_is_as_none(state: StateDir, damaged: dict[str, object]) -> None:
    list_runs(state)
    first, *others = _index(state).read_text().split("\n")
    _index(state).write_text("\n".join([json.dumps({**json.loads(first), **damaged}), *others]))
    assert _as_json(_folded(state)) == _as_json(list_runs(state))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": []}\n{}\n'])
def test_a_broken_index_is_as_none(state: StateDir, content: bytes) -> None:
    list_runs(state)
    _index(state).write_bytes(content)
    assert _as_json(_folded(state)) == _as_json(list_runs(state))


def test_a_run_that_was_written_just_now_is_read_again(state: StateDir) -> None:
    """Within one tick of the file system's clock it could have been written again."""
    young = state.run("000006")
    os.utime(young.root)
    list_runs(state)
    stamp = young.root.stat()
    young.last_metrics.write_text('{"loss": 9.0}')  # in place: neither time changes
    os.utime(young.root, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert {"loss": 9.0} == next(record.metrics for record in list_runs(state) if record.run_id == "000006")


def test_a_job_of_a_cluster_stands_for_the_latest_run_in_it(state: StateDir) -> None:
    for number, job in ((2, "4242"), (4, "4242"), (5, "77")):
        write_event(state.run(f"{number:06x}").journal, "submitted", engine="slurm", job=job)
    assert "000004" == find_run(state, "@job4242").run_id
    with pytest.raises(ConfigError, match="no run was in job `424` of a cluster"):
        find_run(state, "@job424")


def test_the_last_is_the_sweep_that_was_launched_and_not_its_last_trial(state: StateDir) -> None:
    for number, fields in enumerate([{"sweep_id": "aaaaaa"}, {"sweep_id": "aaaaaa", "trial": 1}]):
        run_dir = state.run("aaaaaa" if number == 0 else "bbbbbb")
        run_dir.root.mkdir()
        write_event(run_dir.journal, "created", at=1e6 + number, **fields)
    assert "aaaaaa" == find_run(state, "@last").run_id
    assert f"{RUNS - 1:06x}" == find_run(state, "@last~1").run_id
