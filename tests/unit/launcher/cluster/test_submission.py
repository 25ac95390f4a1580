"""A run that has been written down is handed to the cluster, or ends with what the cluster said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from launcher.cluster.submission import script_of, submit
from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import LaunchError
from launcher.journal.events import Created
from launcher.journal.run_journal import Journal
from launcher.run.start.create_run import new_run_dir
from launcher.tracking.record.run_record import fold
from runtime.file_lock import is_locked, open_locked
from runtime.state_dir import StateDir

SPEC = ExperimentSpec(name="digits", command=("true",), cluster=Cluster(kind="slurm"), tracking=None)
PLAN = SimpleNamespace(spec=SPEC, gpus=0, cpus=1.0, memory_bytes=None)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A run's directory, its lock, and `sbatch` as a shell script's body."""
    run_dir = new_run_dir(StateDir(tmp_path / "home").ensure())
    lock_fd = open_locked(run_dir.supervisor_lock)
    Journal(run_dir.journal).append(Created(run_dir.run_id, "digits"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def sbatch(body):
        (tmp_path / "sbatch").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "sbatch").chmod(0o755)

    return run_dir, lock_fd, sbatch


def test_the_job_becomes_the_supervisor_of_the_run(written):
    run_dir, _, _ = written
    script = script_of(PLAN, run_dir)
    command = script.splitlines()[-1]
    assert command.startswith("exec /")
    assert "/launcher/cluster/job_main.py " in command
    assert command.endswith(f" {run_dir.root}")
    assert f"#SBATCH --job-name=digits-{run_dir.run_id}\n" in script


def test_the_lock_is_let_go_once_the_job_stands_in_the_journal(written):
    run_dir, lock_fd, sbatch = written
    sbatch("cat > /dev/null; echo 17")
    assert "17" == submit(run_dir, lock_fd, PLAN)
    assert not is_locked(run_dir.supervisor_lock)
    assert ("17", "submitted", True) == (fold(run_dir).job, fold(run_dir).phase, fold(run_dir).alive)


def test_a_run_that_the_cluster_refuses_ends_with_its_words(written):
    run_dir, lock_fd, sbatch = written
    sbatch("echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    with pytest.raises(LaunchError, match="invalid partition specified: nope"):
        submit(run_dir, lock_fd, PLAN)
    record = fold(run_dir)
    assert ("launcher", 125, "`sbatch` failed: invalid partition specified: nope") == (
        record.reason,
        record.exit_code,
        record.message,
    )
    assert not is_locked(run_dir.supervisor_lock)
