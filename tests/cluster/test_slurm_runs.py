"""Single runs on a real Slurm (slurm_bed.py), typed as for this machine."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest
from gpu_box import make_box
from waiting import eventually

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

WITHIN_S = 60.0


def begun(launch, run_id):
    """The journal's `started` of the run, once its program has said something."""
    journal = launch.home / "runs" / run_id / "journal.jsonl"

    def events():
        found = {event["event"]: event for event in map(json.loads, journal.read_text().splitlines())}
        assert "finished" not in found, found["finished"]
        return found

    eventually(lambda: "first_output" in events(), "its first line")
    return events()["started"]


def detached(launch, *overrides):
    return launch("experiment=probe", "cluster=slurm", "-d", "-q", *overrides).stdout.strip()


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_a_run_on_the_cluster_is_watched_to_its_own_exit_code(launch, slurm):
    done = launch("experiment=probe", "cluster=slurm", "params.how=3", check=3)
    record = launch.record()
    assert f"hello from {record['run_id']}\n" == done.stdout
    assert "on stderr\n" in done.stderr
    assert f"submitted as slurm job {record['job']}" in done.stderr
    assert ("program", 3, 1.0 / 3) == (record["reason"], record["exit_code"], record["metrics"]["loss"])
    assert "42\n" == (launch.home / "runs" / record["run_id"] / "outputs/result.txt").read_text()
    eventually(lambda: "JobState=FAILED" in slurm.ask("scontrol", "show", "job", str(record["job"])), "the job's end")
    assert "ExitCode=3:0" in slurm.ask("scontrol", "show", "job", str(record["job"]))


@pytest.mark.parametrize(
    ("words", "wanted"), [(["cluster.sbatch.hold=true"], "SCHEDULED"), ([], "RUNNING")], ids=["in line", "running"]
)
def test_a_watching_command_that_is_ended_leaves_run_and_place_alone(launch, slurm, words, wanted):
    launch("build", "experiment=probe", "-q")
    command = launch.start("experiment=probe", "cluster=slurm", "params.how=sleep", *words)
    eventually(lambda: slurm.jobs() or command.poll() is not None, "its job")
    assert command.poll() is None, command.communicate()
    run_id = launch.record()["run_id"]
    eventually(lambda: launch.record(run_id)["status"] == wanted, wanted)
    command.send_signal(signal.SIGTERM)
    _, err = command.communicate(timeout=60)
    assert (143, True) == (command.returncode, f"left; the run goes on, `launch logs -f {run_id}`" in err), err
    assert wanted == launch.record(run_id)["status"]
    assert slurm.jobs()
    launch("stop", run_id)


def test_a_run_in_line_says_what_it_waits_for_and_can_be_taken_out(launch):
    run_id = detached(launch, "cluster.sbatch.hold=true")
    assert "JobHeldUser" in launch("ps").stdout
    launch("stop", run_id)
    record = launch.record(run_id)
    assert ("stopped", f"slurm job {record['job']} was cancelled before the run began") == (record["reason"], record["message"])


def test_a_stop_lets_the_program_save_on_its_node(launch):
    run_id = detached(launch, "params.how=graceful")
    begun(launch, run_id)
    eventually(lambda: "ready" in launch("logs", run_id).stdout, "readiness")
    launch("stop", run_id)
    assert "saving" in launch("logs", run_id).stdout
    assert "stopped" == launch.record(run_id)["reason"]


@pytest.mark.requires("patience")
def test_nothing_of_a_run_survives_scancel(launch, slurm):
    run_id = detached(launch, "params.how=stubborn")
    init = begun(launch, run_id)["init_pid"]
    slurm.ask("scancel", launch.record(run_id)["job"])
    eventually(lambda: not lives(init), "the end of its container")
    launch("wait", run_id, check=None)
    assert "stopped" == launch.record(run_id)["reason"]


def test_nothing_of_a_run_survives_its_supervisor_alone(launch):
    run_id = detached(launch, "params.how=stubborn")
    init = begun(launch, run_id)["init_pid"]
    os.kill(json.loads((launch.home / "runs" / run_id / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    eventually(lambda: not lives(init), "the end of its container")
    eventually(lambda: launch.record(run_id)["exit_code"] is not None, "its last word")
    record = launch.record(run_id)
    assert ("lost", False) == (record["reason"], record["alive"])
    assert not (launch.home / "runs" / run_id / "overlay").exists()


def test_what_slurm_refuses_is_an_error_in_its_words_and_in_the_record(launch):
    done = launch("experiment=probe", "cluster=slurm", "cluster.partition=nope", check=125)
    assert "error: `sbatch` failed: invalid partition specified: nope" in done.stderr
    assert "launcher" == launch.record()["reason"]


@pytest.fixture(scope="module")
def box():
    """A machine with two GPUs; the bed's nodes count those of their own."""
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)  # a container's process 1, nobody outside, finds the nodes in it
        made = make_box(Path(directory) / "box", gpus=2)
        yield made
        made.remove()


@pytest.mark.requires("cc")
@pytest.mark.parametrize(
    ("gpus", "leased", "asked"),
    [
        pytest.param("1", 1, "--gpus-per-node=1", id="one"),
        pytest.param("all", 2, "--exclusive", id="all of a node"),
        pytest.param("0.5", 1, "--gres=shard:2", id="half of one"),
    ],
)
def test_the_gpus_that_slurm_gave_are_the_lease(launch, box, monkeypatch, gpus, leased, asked):
    box.use(monkeypatch)
    assert f"#SBATCH {asked}\n" in launch("plan", "experiment=probe", "cluster=slurm", f"gpus={gpus}").stdout
    run_id = detached(launch, f"gpus={gpus}", "params.how=sleep")
    begun(launch, run_id)
    assert set(box.uuids[:leased]) == set(launch.record(run_id)["gpus"])
    launch("kill", run_id)
