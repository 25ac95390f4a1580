"""One run, begun more than once by a real Slurm: lost nodes, requeued jobs, preemption, time limits; nothing survives."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project
from server_peer import Server
from slurm_bed import slurm_bed

from launcher.tracking import mlflow_server
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

WITHIN_S = 60.0

# Counts on from its checkpoint, ten times a second, and says everywhere which attempt it is.
PROGRAM = """\
import json, os, pathlib, signal, subprocess, sys, time
how, attempt = sys.argv[1], int(os.environ["LAUNCH_ATTEMPT"])
state, enough = pathlib.Path("/checkpoints/state"), pathlib.Path("/checkpoints/enough")
step = int(state.read_text()) if state.exists() else 0

def save(*_):
    pathlib.Path("/checkpoints/saved").write_text(f"{attempt} {step}")
    print("saving", flush=True)
    if how != "stubborn":
        sys.exit(0)

signal.signal(signal.SIGTERM, save)
if how == "stubborn":
    subprocess.Popen(["sleep", "4321"], start_new_session=True)
print(f"attempt {attempt} begins at {step}", flush=True)
with open(os.environ["LAUNCH_METRICS"], "a") as metrics, open("/outputs/steps.txt", "a") as steps:
    while not enough.exists():
        step += 1
        for file, line in (
            (metrics, json.dumps({"step": step, "attempt": attempt})),
            (steps, f"attempt {attempt} step {step}"),
            (sys.stdout, f"attempt {attempt} step {step}"),
        ):
            print(line, file=file, flush=True)
        pathlib.Path("/checkpoints/partial").write_text(str(step))
        os.rename("/checkpoints/partial", state)
        time.sleep(0.1)
"""


@pytest.fixture(scope="session")
def counting_project(tmp_path_factory):
    experiment = EXPERIMENT.replace("probe", "counting").replace('how: "0"', "how: count")
    return write_project(tmp_path_factory.mktemp("counting"), "counting", experiment=experiment, program=PROGRAM)


@pytest.fixture
def counting(launch, counting_project):
    return Launch(launch.home, counting_project, launch.environ)


class Run:
    """A run on the bed, seen through its directory and Slurm."""

    def __init__(self, launch, slurm, *overrides):
        self.launch, self.slurm = launch, slurm
        self.id = launch("experiment=counting", "cluster=slurm", "-d", "-q", *overrides).stdout.strip()
        self.directory = launch.home / "runs" / self.id

    @property
    def job(self):
        return [event["job"] for event in self.lines("submitted")][-1]

    def lines(self, name):
        events = map(json.loads, (self.directory / "journal.jsonl").read_text().splitlines())
        return [event for event in events if event["event"] == name]

    def record(self):
        return self.launch.record(self.id)

    def steps(self, attempt, file="stdout.log"):
        found = re.findall(rf"attempt {attempt} step (\d+)", (self.directory / file).read_text())
        return [int(step) for step in found]

    def counts(self, attempt):
        until(lambda: len(self.steps(attempt)) > 5, lambda: f"steps of attempt {attempt}\n{self.story()}")

    def story(self):
        """For who wants to know why something has not happened."""
        files = (self.directory / name for name in ("journal.jsonl", "supervisor.log"))
        return "\n".join(
            [*(file.read_text() for file in files if file.exists()), self.slurm.ask("squeue"), self.slurm.ask("sinfo", "-N")]
        )

    def in_line(self, field):
        """What squeue says of it."""
        return self.slurm.ask("squeue", "--noheader", f"--jobs={self.job}", f"--format={field}").strip()

    def begin_again_now(self):
        """Slurm keeps a requeued job back for two minutes."""
        until(lambda: self.in_line("%T") == "PENDING", "the job to be in line again")
        self.slurm.ask("scontrol", "update", f"JobId={self.job}", "StartTime=now")

    def lose_node(self):
        """Its node is gone for Slurm, and lives. Returns its name."""
        node = self.in_line("%N")
        self.slurm.kill_daemon(node)
        # Drained, too: a registration that was on its way would bring it back, and the job to nobody.
        self.slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        self.slurm.fail(node)
        self.begin_again_now()
        return node

    def processes(self):
        """The supervisor of the copy that runs now, and its container's init."""
        return self.lines("placed")[-1]["pid"], self.lines("started")[-1]["init_pid"]

    def finish(self):
        (self.directory / "checkpoints/enough").touch()
        assert 0 == self.launch("wait", self.id, timeout_s=60).returncode


def until(is_so, what, within_s=WITHIN_S):
    deadline = time.monotonic() + within_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def one_history(run):
    """Every step of the first attempt stands before those of the second, which goes on from a checkpoint of the first; the same
    in all places that the program writes to."""
    logged = [json.loads(line) for line in (run.directory / "logged.jsonl").read_text().splitlines()]
    attempts = [int(entry["value"]) for entry in logged if entry.get("key") == "attempt"]
    assert attempts == sorted(attempts), "metrics of two attempts are mixed"
    metrics = {attempt: [entry["step"] for entry in logged if entry["value"] == attempt] for attempt in set(attempts)}
    for file in ("stdout.log", "outputs/steps.txt"):
        text = (run.directory / file).read_text()
        order = [int(number) for number in re.findall(r"^attempt (\d+) step", text, re.M)]
        assert order == sorted(order), f"two attempts are mixed in {file}"
        last = max(metrics)
        assert run.steps(last, file) == metrics[last], f"{file} and the metrics differ"
    for attempt, steps in metrics.items():
        assert not [step for step, count in Counter(steps).items() if count > 1], f"attempt {attempt} counts a step twice"
        assert steps == [*range(steps[0], steps[0] + len(steps))], f"attempt {attempt} has a gap"


@pytest.fixture
def mended(slurm):
    """Nodes that a test lost are there again for the next one."""
    lost = []
    yield lost
    for node in lost:
        slurm.start_daemon(node)
        with suppress(subprocess.CalledProcessError):  # it is back by itself already
            slurm.resume(node)


def test_of_two_copies_of_a_run_the_second_alone_is_in_the_record(counting, slurm, mended):
    run = Run(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    first_copy = run.processes()
    mended.append(run.lose_node())
    run.counts(2)
    until(lambda: not any(map(lives, first_copy)), "the end of the first copy, by itself", within_s=5)
    run.finish()
    one_history(run)
    record = run.record()
    assert ("completed", 2) == (record["reason"], record["attempt"])
    assert [("lost", 1)] == [(event["reason"], event["attempt"]) for event in run.lines("attempt")]
    assert not (run.directory / "superseded").exists()


def test_the_time_limit_is_a_signal_that_leaves_time_to_save_and_a_reason(counting, slurm):
    run = Run(counting, slurm)
    run.counts(1)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)  # what Slurm sends for `--signal=B:USR2@grace`
    assert 124 == counting("wait", run.id, check=None).returncode
    assert "timeout" == run.record()["reason"]
    attempt, step = map(int, (run.directory / "checkpoints/saved").read_text().split())
    counting("resume", run.id, "-d", "-q")
    run.counts(2)
    assert (1, step + 1) == (attempt, run.steps(2)[0])
    run.finish()
    one_history(run)


def test_a_job_that_an_operator_requeues_goes_on_as_the_same_run(counting, slurm):
    run = Run(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    slurm.ask("scontrol", "requeue", run.job)
    until(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("preempted", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    assert None is run.record()["exit_code"]
    run.begin_again_now()
    run.counts(2)
    run.finish()
    one_history(run)
    assert ("completed", 2) == (run.record()["reason"], run.record()["attempt"])


@pytest.mark.requires("patience")
def test_a_copy_that_cannot_be_ended_writes_beside_the_run_and_not_into_it(counting, slurm, mended):
    """Its witness stands still, so nothing ends it: what it writes goes to files that are not the run's any more."""
    run = Run(counting, slurm, "cluster.requeue=true")
    run.counts(1)
    supervisor = run.lines("placed")[-1]["pid"]
    witness = int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])
    os.kill(witness, signal.SIGSTOP)
    try:
        first_copy = run.processes()
        mended.append(run.lose_node())
        aside = run.directory / "superseded" / f"{run.job}.0"
        run.counts(2)
        kept = (aside / "stdout.log").stat().st_size
        until(lambda: (aside / "stdout.log").stat().st_size > kept + 100, "the first copy's words in its own file")
        assert all(map(lives, first_copy))
        run.finish()
        one_history(run)
    finally:
        os.kill(witness, signal.SIGCONT)
    until(lambda: not any(map(lives, first_copy)), "the end of the first copy", within_s=5)
    one_history(run)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3, 0.6, 1.0, 1.7])
def test_whenever_the_node_is_lost_one_attempt_is_in_the_record(counting, slurm, mended, after_s):
    run = Run(counting, slurm, "cluster.requeue=true")
    until(lambda: run.in_line("%T") == "RUNNING", "its job's beginning")
    time.sleep(after_s)
    mended.append(run.lose_node())
    last = until(
        lambda: (placed := run.lines("placed")) and placed[-1]["placement"].endswith(".1") and placed[-1], "the second copy"
    )
    run.counts(last["attempt"])
    run.finish()
    time.sleep(2)
    one_history(run)
    assert "completed" == run.record()["reason"]
    assert all(not lives(placed["pid"]) for placed in run.lines("placed"))


@pytest.fixture
def contested(request, counting):
    """A cluster whose partition `urgent` takes the place of jobs in `spare`, with how and with what grace as parameters."""
    how, grace_s, more = request.param
    partitions = (
        f"spare Nodes=ALL PriorityTier=1 GraceTime={grace_s}\nPartitionName=urgent Nodes=ALL PriorityTier=9 PreemptMode=OFF"
    )
    preemption = {"PreemptType": "preempt/partition_prio", "PreemptMode": how, "PartitionName": partitions, **more}
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    root.chmod(0o755)
    try:
        with slurm_bed(root, nodes=1, settings=preemption) as bed:
            yield bed, Launch(counting.home, counting.project, dict(bed.environ))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def preempted(contested, *overrides):
    """A run in `spare` whose place another job has taken."""
    bed, launch = contested
    run = Run(launch, bed, "cluster.partition=spare", "cluster.sbatch.exclusive=true", *overrides)
    run.counts(1)
    bed.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    return run


SIGNALLED = {"PreemptParameters": "send_user_signal"}


@pytest.mark.requires("patience")
@pytest.mark.parametrize(
    "contested",
    [
        pytest.param(("REQUEUE", 0, {}), id="at once"),
        pytest.param(("REQUEUE", 30, SIGNALLED), id="told in advance"),
    ],
    indirect=True,
)
def test_a_preempted_job_is_requeued_and_goes_on_from_its_checkpoint(contested):
    run = preempted(contested, "cluster.requeue=true")
    until(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("preempted", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    attempt, step = map(int, (run.directory / "checkpoints/saved").read_text().split())
    run.begin_again_now()
    run.counts(2)
    assert (1, step + 1) == (attempt, run.steps(2)[0])
    run.finish()
    one_history(run)


@pytest.mark.requires("patience")
@pytest.mark.parametrize(
    "contested",
    [
        pytest.param(("CANCEL", 0, {}), id="at once"),
        pytest.param(("CANCEL", 30, SIGNALLED), id="told in advance"),
        pytest.param(("REQUEUE", 0, {}), id="a job that may not be requeued"),
    ],
    indirect=True,
)
def test_a_preempted_job_that_is_not_requeued_ends_with_that_reason_and_can_be_resumed(contested):
    run = preempted(contested, "retries=3")
    assert 143 == run.launch("wait", run.id, check=None).returncode
    assert "preempted" == run.record()["reason"]
    run.launch("resume", run.id, "-d", "-q")
    run.counts(2)
    run.finish()
    one_history(run)


@pytest.fixture
def recorded(counting):
    """The local MLflow server of the runs, up and answering."""
    state = StateDir(counting.home)
    mlflow_server.ui(state)
    yield Server(state)
    mlflow_server.stop_server(state)


@pytest.mark.requires("patience")
def test_mlflow_has_one_run_with_the_history_of_one_attempt_after_the_other(counting, slurm, mended, recorded):
    run = Run(counting, slurm, "cluster.requeue=true", "tracking={}")
    run.counts(1)
    first_copy = run.processes()
    mended.append(run.lose_node())
    run.counts(2)
    until(lambda: not any(map(lives, first_copy)), "the end of the first copy", within_s=5)
    run.finish()
    counting("sync")
    one_history(run)
    known = json.loads((run.directory / "mlflow.json").read_text())
    assert [known["run_id"]] == recorded.runs_of(known["experiment_id"])
    logged = [json.loads(line) for line in (run.directory / "logged.jsonl").read_text().splitlines()]
    expected = sorted((entry["step"], entry["value"]) for entry in logged if entry["key"] == "attempt")
    assert expected == sorted(recorded.history(known["run_id"], "attempt"))
    seen = recorded.run(known["run_id"])
    assert ("FINISHED", "completed", "2") == (seen.info["status"], seen.tags["launch.reason"], seen.tags["launch.attempt"])


@pytest.mark.requires("patience")
def test_slurms_own_time_limit_leaves_time_to_save_and_a_reason(counting, slurm):
    run = Run(counting, slurm, "cluster.time=1m", "grace=5s")
    run.counts(1)
    assert 124 == counting("wait", run.id, check=None, timeout_s=200).returncode
    assert "timeout" == run.record()["reason"]
    assert (run.directory / "checkpoints/saved").exists()
    counting("resume", run.id, "-d", "-q")
    run.counts(2)
    run.finish()
    one_history(run)


@pytest.mark.requires("patience")
def test_a_time_limit_that_retry_on_names_puts_the_job_in_line_again_as_often_as_retries_say(counting, slurm):
    run = Run(counting, slurm, "cluster.requeue=true", "retries=1", "retry_on=[timeout]")
    run.counts(1)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)
    until(lambda: run.lines("attempt"), "the last word of the first attempt")
    assert [("timeout", True)] == [(event["reason"], event["requeued"]) for event in run.lines("attempt")]
    run.begin_again_now()
    run.counts(2)
    slurm.ask("scancel", "--batch", "--signal=USR2", run.job)
    assert 124 == counting("wait", run.id, check=None).returncode
    one_history(run)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("requeue", ["false", "true"])
def test_nothing_survives_scancel_however_it_hides(counting, slurm, requeue):
    """A child in a session of its own, whose parent ignores SIGTERM: proctrack/linuxproc alone would lose it."""
    run = Run(counting, slurm, "params.how=stubborn", "grace=60s", f"cluster.requeue={requeue}")
    run.counts(1)
    processes = (*run.processes(), *descendants(run.processes()[1]))
    assert [pid for pid in processes if "4321" in Path(f"/proc/{pid}/cmdline").read_text()]
    slurm.ask("scancel", run.job)
    until(lambda: not any(map(lives, processes)), "the end of all of it")
    assert 143 == counting("wait", run.id, check=None).returncode
    assert "stopped" == run.record()["reason"]


@pytest.mark.requires("patience")
def test_a_requeued_job_that_would_not_end_is_killed_and_begins_again(counting, slurm):
    run = Run(counting, slurm, "params.how=stubborn", "grace=60s", "cluster.requeue=true")
    run.counts(1)
    processes = (*run.processes(), *descendants(run.processes()[1]))
    slurm.ask("scontrol", "requeue", run.job)
    run.begin_again_now()
    run.counts(2)
    assert not any(map(lives, processes))
    run.finish()
    one_history(run)


def descendants(pid):
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in descendants(child))]
