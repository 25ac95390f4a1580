"""Sweeps whose trials run in worker jobs of a real Slurm (slurm_bed.py), typed as for this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager, suppress

import pytest
from launch_command import Launch, write_project
from waiting import eventually

from launcher.cluster.trials.exchange import request
from runtime.state_dir import RunDir

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

WITHIN_S = 60.0

PROGRAM = """\
import json, os, sys, time
steps, lr = int(sys.argv[1]), float(sys.argv[2])
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    for step in range(steps):
        metrics.write(json.dumps({"step": step, "loss": lr + 1 / (step + 1)}) + "\\n")
        metrics.flush()
        time.sleep(0.05)
"""

EXPERIMENT = """\
# @package _global_
description: reports as long as it is told
image: {requirements: []}
code: {root: experiments/trial}
command: [python3, trial.py, "${params.steps}", "${params.lr}"]
params: {steps: 4, lr: 0.1}
cpus: 0.5
memory: 256MiB
grace: 2s
tracking: null
sweep: {metric: loss, direction: minimize}
"""


class Sweeps(Launch):
    """`launch` for sweeps on the cluster."""

    def begin(self, *overrides: str) -> str:
        return self("-m", "experiment=trial", "cluster=slurm", "-d", "-q", *overrides).stdout.strip()

    def end_all(self) -> None:
        """Leave no sweep of a failed test."""
        for run in self.runs():
            if run["sweep_id"] == run["run_id"] and run["alive"]:
                os.kill(self.process(run["run_id"]), signal.SIGKILL)

    def log(self, sweep: str, event: str) -> list[dict]:
        lines = (self.home / "runs" / sweep / "trials.jsonl").read_text().splitlines()
        return [found for found in map(json.loads, lines) if found["event"] == event]

    def journal(self, run: str) -> dict[str, dict]:
        """Event → the last of its name."""
        lines = (self.home / "runs" / run / "journal.jsonl").read_text().splitlines()
        return {event["event"]: event for event in map(json.loads, lines)}

    def said(self, sweep: str) -> str:
        return (self.home / "runs" / sweep / "journal.jsonl").read_text()

    def running(self, sweep: str) -> list[str]:
        """Trials whose program runs."""
        runs = [started["run_id"] for started in self.log(sweep, "started")]
        return [run for run in runs if "started" in (events := self.journal(run)) and "finished" not in events]

    def process(self, sweep: str) -> int:
        return json.loads((self.home / "runs" / sweep / "supervisor.lock").read_text())["pid"]

    def decided(self, sweep: str) -> Counter[int]:
        return Counter(end["number"] for end in self.log(sweep, "ended") if end["verdict"] in ("complete", "pruned", "failed"))


@pytest.fixture
def sweeps(slurm, cluster_home, tmp_path):
    launch = Sweeps(cluster_home, write_project(tmp_path, "trial", experiment=EXPERIMENT, program=PROGRAM), dict(slurm.environ))
    yield launch
    launch.end_all()
    for job in slurm.jobs():
        slurm.ask("scancel", job)


@contextmanager
def controller_away(slurm):
    """Nobody answers for the body; then somebody does who knows all that was."""
    pid = int((slurm.root / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_alive(pid), "the controller's end")
    try:
        yield
    finally:
        slurm.ask("slurmctld")
        eventually(lambda: answers(slurm), "the controller's return")


def answers(slurm):
    with suppress(subprocess.CalledProcessError):
        return slurm.ask("squeue") is not None
    return False


def is_alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_trial_whose_worker_was_cancelled_runs_again_and_every_trial_counts_once(sweeps, slurm):
    sweep = sweeps.begin("params.steps=40,2,3,4,5,6,7,8", "cluster.jobs=3")
    hit = eventually(lambda: sweeps.log(sweep, "started"), "the first trial")[0]["run_id"]
    eventually(lambda: hit in sweeps.running(sweep), "its program")
    slurm.ask("scancel", sweeps.journal(hit)["submitted"]["job"])
    sweeps("wait", sweep)
    assert "preempted" == sweeps.journal(hit)["finished"]["reason"]
    assert [(hit, "again")] == [
        (end["run_id"], end["verdict"]) for end in sweeps.log(sweep, "ended") if end["verdict"] != "complete"
    ]
    assert Counter(range(1, 9)) == sweeps.decided(sweep)
    jobs = {sweeps.journal(started["run_id"])["submitted"]["job"] for started in sweeps.log(sweep, "started")}
    assert len(jobs) < 8, "no worker has run two trials"
    eventually(lambda: not slurm.jobs(), "the end of every worker's job")


def test_a_pruned_trial_ends_soon_and_its_worker_runs_the_next(sweeps):
    pruner = ("sweep.pruner.kind=threshold", "sweep.pruner.options={upper: 5.0}")
    sweep = sweeps.begin("params.lr=9,0.1", "params.steps=30", "cluster.jobs=1", *pruner)
    sweeps("wait", sweep)
    pruned, after = (sweeps.journal(started["run_id"]) for started in sweeps.log(sweep, "started"))
    assert ["pruned", "completed"] == [pruned["finished"]["reason"], after["finished"]["reason"]]
    assert pruned["submitted"]["job"] == after["submitted"]["job"]
    assert after["started"]["at"] - pruned["stopping"]["at"] < 2.0


def test_the_first_ctrl_c_finishes_what_runs_and_leaves_no_job(sweeps, slurm):
    sweep = sweeps.begin("params.lr=1,2,3,4", "params.steps=20", "cluster.jobs=2")
    eventually(lambda: len(sweeps.running(sweep)) == 2, "two trials")
    os.kill(sweeps.process(sweep), signal.SIGINT)
    sweeps("wait", sweep, check=None)
    assert Counter([1, 2]) == sweeps.decided(sweep)
    assert "interrupted" == sweeps.record(sweep)["reason"]
    eventually(lambda: not slurm.jobs(), "the end of every worker's job")


def test_a_sweep_whose_process_was_killed_goes_on_with_the_trials_that_run(sweeps, slurm):
    sweep = sweeps.begin("params.lr=1,2,3,4", "params.steps=30", "cluster.jobs=2")
    adopted = eventually(lambda: found if len(found := sweeps.running(sweep)) == 2 else [], "two trials")
    os.kill(sweeps.process(sweep), signal.SIGKILL)
    sweeps("resume", sweep, "-q")
    assert Counter([1, 2, 3, 4]) == sweeps.decided(sweep)
    assert [*adopted] == [started["run_id"] for started in sweeps.log(sweep, "started")][:2]
    assert 4 == len(sweeps.log(sweep, "started"))
    assert 2 == len({sweeps.journal(started["run_id"])["submitted"]["job"] for started in sweeps.log(sweep, "started")})


def test_a_node_that_cannot_run_trials_is_said_in_its_words(sweeps):
    done = sweeps("-m", "experiment=trial", "cluster=slurm", "params.lr=1,2", "cluster.partition=nope", check=125)
    assert "error: `sbatch` failed: invalid partition specified: nope" in done.stderr


@pytest.mark.requires("patience")
def test_a_trial_whose_node_was_lost_but_lives_is_ended_there_and_counts_once(sweeps, slurm):
    sweep = sweeps.begin("params.lr=1,2", "params.steps=200", "cluster.jobs=2")
    eventually(lambda: len(sweeps.running(sweep)) == 2, "two trials")
    lost = sweeps.log(sweep, "started")[0]
    init = sweeps.journal(lost["run_id"])["started"]["init_pid"]
    slurm.ask("scontrol", "update", f"NodeName={lost['node']}", "State=DRAIN", "Reason=test")  # or a late answer brings it back
    slurm.kill_daemon(lost["node"])
    slurm.fail(lost["node"])
    try:
        eventually(lambda: not os.path.exists(f"/proc/{init}"), "the end of its first copy")
        sweeps("wait", sweep, timeout_s=WITHIN_S)
    finally:
        slurm.start_daemon(lost["node"])
        slurm.resume(lost["node"])
    assert Counter([1, 2]) == sweeps.decided(sweep)
    assert "lost" == sweeps.record(lost["run_id"])["reason"]
    losses = [trial["values"] for trial in json.loads(sweeps("sweep", "show", sweep, "--json").stdout)["trials"]]
    assert [[1 + 1 / 200], [2 + 1 / 200]] == losses


@pytest.mark.requires("patience")
def test_a_worker_that_was_killed_alone_leaves_nothing_and_its_trial_runs_again(sweeps):
    sweep = sweeps.begin("params.lr=1,2", "params.steps=60", "cluster.jobs=2")
    eventually(lambda: len(sweeps.running(sweep)) == 2, "two trials")
    first = sweeps.log(sweep, "started")[0]["run_id"]
    events = sweeps.journal(first)
    with open(f"/proc/{events['placed']['pid']}/stat") as stat:
        worker = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{events['started']['init_pid']}"), "the end of its container")
    sweeps("wait", sweep)
    assert Counter([1, 2]) == sweeps.decided(sweep)
    assert "lost" == sweeps.record(first)["reason"]


@pytest.mark.requires("patience")
def test_a_sweep_whose_jobs_ended_before_they_began_goes_on_once_they_can(sweeps, slurm):
    sweep = sweeps.begin("params.lr=1,2,3", "cluster.jobs=3", "cluster.sbatch.begin=now+1hour")
    for job in eventually(lambda: jobs if len(jobs := slurm.jobs()) == 3 else [], "three pending jobs"):
        slurm.ask("scancel", job)
    sweeps("wait", sweep, check=None)
    assert "3 worker jobs in a row ended before they began" in sweeps.record(sweep)["message"]
    sweeps("resume", sweep, "-q", "cluster.sbatch.begin=now")
    assert Counter([1, 2, 3]) == sweeps.decided(sweep)


@pytest.mark.requires("patience")
def test_a_controller_that_is_away_at_ctrl_c_ends_no_trial_and_leaves_no_job(sweeps, slurm):
    sweep = sweeps.begin("params.lr=1,2,3,4", "params.steps=2400", "cluster.jobs=4", "cpus=2")
    running = eventually(lambda: found if len(found := sweeps.running(sweep)) == 3 else [], "three trials")
    eventually(lambda: len(slurm.jobs()) == 4, "one pending job")
    process = sweeps.process(sweep)
    with controller_away(slurm):
        os.kill(process, signal.SIGINT)
        eventually(lambda: "cannot be taken out of the queue" in sweeps.said(sweep), "the sweep's words")
    eventually(lambda: len(slurm.jobs()) == 3, "the end of what was pending")
    assert running == sweeps.running(sweep)
    os.kill(process, signal.SIGINT)
    sweeps("wait", sweep, check=None)
    assert 3 * ["interrupted"] == [sweeps.record(run)["reason"] for run in running]
    eventually(lambda: not slurm.jobs(), "the end of every worker's job")


def test_trials_that_are_stopped_as_soon_as_they_are_there_are_stopped(sweeps):
    sweep = sweeps.begin("params.lr=1,2", "params.steps=400", "cluster.jobs=1")
    for earlier in range(2):
        found = eventually(lambda count=earlier: sweeps.log(sweep, "started")[count:], "a trial")
        trial = RunDir(sweeps.home / "runs" / found[0]["run_id"])
        eventually(trial.requests.exists, "its worker")
        request(trial, signal.SIGTERM)
    sweeps("wait", sweep, check=None)
    ends = [sweeps.record(started["run_id"]) for started in sweeps.log(sweep, "started")]
    assert 2 * ["stopped"] == [end["reason"] for end in ends]
    assert all((end["duration_s"] or 0.0) < 10.0 for end in ends)
