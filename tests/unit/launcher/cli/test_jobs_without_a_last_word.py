"""Commands that have to know whether a run has ended ask its cluster, which is a stand-in in PATH here."""

from __future__ import annotations

import pytest
from journal_lines import write_event

from launcher.cli.main import run
from launcher.cli.runs import sync
from launcher.tracking.record.run_record import fold

SILENT = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"


def job_is(state):
    """What squeue prints of job 17."""
    return f"echo '17|{state}|None|node1|0|0:0|N/A|'"


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """`squeue("…")`: a shell script's body."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(body):
        (tmp_path / "squeue").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "squeue").chmod(0o755)

    return make


@pytest.fixture
def run_dir(run_dir, state, monkeypatch):
    monkeypatch.setenv("LAUNCH_HOME", str(state.root))
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="x", host="login", pid=2**22 + 1)
    write_event(run_dir.journal, "submitted", engine="slurm", job="17")
    write_event(run_dir.journal, "placed", host="node1", node="node1", job="17", attempt=1)
    return run_dir


def test_a_sync_closes_a_run_whose_node_died(squeue, run_dir):
    squeue(job_is("NODE_FAIL"))
    run(["sync", run_dir.run_id])
    assert "lost" == fold(run_dir).reason


def test_a_sync_goes_on_when_the_cluster_does_not_answer(squeue, run_dir, capsys):
    squeue(SILENT)
    assert 0 == run(["sync", run_dir.run_id])
    assert "how the runs on the cluster stand is not known" in capsys.readouterr().err
    assert fold(run_dir).exit_code is None


def test_a_run_whose_job_died_can_be_resumed_at_once(squeue, run_dir, capsys):
    """What is missing then is the plan, which a test's run has none of."""
    squeue(job_is("NODE_FAIL"))
    assert 0 != run(["resume", run_dir.run_id])
    assert "has not ended" not in capsys.readouterr().err
    assert "lost" == fold(run_dir).reason


def test_a_run_whose_job_runs_cannot_be_resumed(squeue, run_dir, capsys):
    squeue(job_is("RUNNING"))
    assert 0 != run(["resume", run_dir.run_id])
    assert "has not ended" in capsys.readouterr().err


def test_what_was_sent_of_a_run_that_goes_on_is_not_all_of_it(run_dir):
    assert "sent so far: it has not ended" == sync._sent_words(fold(run_dir))
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, signal=None)
    assert "sent" == sync._sent_words(fold(run_dir))


def test_a_job_that_stands_still_is_shown_as_suspended(squeue, run_dir, capsys):
    squeue(job_is("SUSPENDED"))
    run(["ps"])
    assert "slurm job 17: suspended" in capsys.readouterr().out
