"""Runs on several nodes of a real Slurm, all of which are this machine: their programs meet on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from launch_command import Launch
from meeting_project import write_meeting
from waiting import eventually

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

WITHIN_S = 60.0


@pytest.fixture(scope="session")
def meeting_project(tmp_path_factory):
    return write_meeting(tmp_path_factory.mktemp("meeting"))


@pytest.fixture
def launch(launch, meeting_project):
    """The cluster's `launch`, in the project whose ranks meet."""
    return Launch(launch.home, meeting_project, launch.environ)


def detached(launch, *overrides):
    return launch("experiment=meet", "cluster=slurm", "-d", "-q", *overrides).stdout.strip()


def events(launch, run_id, node=0):
    path = launch.home / "runs" / run_id / (f"nodes/{node}" if node else "") / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def inits(launch, run_id, *, nodes):
    """The process that each node's container hangs on, once every program is ready."""
    logs = [launch.home / "runs" / run_id / (f"nodes/{node}" if node else "") / "stdout.log" for node in range(nodes)]
    eventually(lambda: all(log.exists() and "ready" in log.read_text() for log in logs), "readiness on every node")
    started = [next(e for e in events(launch, run_id, node) if e["event"] == "started") for node in range(nodes)]
    return [event["init_pid"] for event in started]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def lose(slurm, node):
    """The node is gone for Slurm, and lives. Drained, too: a registration that was on its way would bring it back."""
    slurm.kill_daemon(node)
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    slurm.fail(node)


def mend(slurm, node):
    slurm.start_daemon(node)
    with suppress(subprocess.CalledProcessError):  # it is back by itself already
        slurm.resume(node)


def assert_nothing_is_left(launch, run_id, pids=()):
    """A node that is cut off ends a moment later than the run."""
    directory = launch.home / "runs" / run_id

    def left():
        words = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in filter(str.isdigit, os.listdir("/proc"))}
        with suppress(FileNotFoundError, ProcessLookupError):
            yield from (pid for pid, path in words.items() if str(directory).encode() in path.read_bytes())
        yield from filter(lives, pids)
        yield from Path("/sys/fs/cgroup").glob(f"*/launch-{run_id}*")
        yield from directory.glob("**/overlay")

    eventually(lambda: not [*left()], "the end of everything that the run had")


def test_ranks_on_three_nodes_meet_and_are_one_run(launch):
    done = launch("experiment=meet", "cluster=slurm", "nodes=3", "params.how=env")
    record = launch.record()
    run_id = record["run_id"]
    assert "rank 0 of 3 on node 0: 111" in done.stdout
    assert ["node1", "node2", "node3"] == [node["name"] for node in record["nodes"]]
    assert ("completed", 0) == (record["nodes"][2]["reason"], record["nodes"][2]["exit_code"])
    lines = launch("logs", "--all-nodes", run_id).stdout.splitlines()
    assert {f"node {node} | rank {node} of 3 on node {node}: 111" for node in range(3)} <= {*lines}
    said = launch("logs", "--node", "2", run_id).stdout.splitlines()
    env = json.loads(said[1])
    assert ("3", "2", "static", "3", "2", "0") == tuple(
        env[name] for name in ("PET_NNODES", "PET_NODE_RANK", "PET_RDZV_BACKEND", "WORLD_SIZE", "RANK", "LOCAL_RANK")
    )
    assert f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}" == env["PET_RDZV_ENDPOINT"]
    assert ("node[1-3]", "3", "3", "1", "2", "0", "2") == tuple(
        env[f"SLURM_{name}"] for name in ("JOB_NODELIST", "NNODES", "NTASKS", "NTASKS_PER_NODE", "PROCID", "LOCALID", "NODEID")
    )
    assert not {"SLURM_JWT", "SLURM_JOBID", "SLURM_STEP_ID", "SLURM_STEPID"} & env.keys()
    assert ("127.0.0.1", "lo", "lo") == (env["MASTER_ADDR"], env["NCCL_SOCKET_IFNAME"], env["GLOO_SOCKET_IFNAME"])


def test_a_rank_that_fails_ends_the_others_and_is_named(launch):
    done = launch("experiment=meet", "cluster=slurm", "params.how=rank 1 fails", check=7)
    record = launch.record()
    assert ("program", 7) == (record["reason"], record["exit_code"])
    assert "node 1 (`node2`): its program ended with exit code 7" == record["message"]
    assert "saving" in done.stdout
    assert_nothing_is_left(launch, record["run_id"])


def test_a_stop_reaches_every_node_and_what_its_program_left_behind(launch):
    run_id = detached(launch, "params.how=leave a child")
    pids = inits(launch, run_id, nodes=2)
    launch("stop", run_id)
    assert "stopped" == launch.record(run_id)["reason"]
    assert ["node 0 | saving", "node 1 | saving"] == sorted(
        line for line in launch("logs", "--all-nodes", run_id).stdout.splitlines() if "saving" in line
    )
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("who", ["supervisor", "link"])
def test_a_node_whose_supervisor_is_killed_is_lost(launch, who):
    run_id = detached(launch, "params.how=leave a child")
    pids = inits(launch, run_id, nodes=2)
    supervisor = json.loads((launch.home / f"runs/{run_id}/nodes/1/supervisor.lock").read_text())["pid"]
    link = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor if who == "supervisor" else link, signal.SIGKILL)
    launch("wait", run_id, check=None)
    record = launch.record(run_id)
    assert ("lost", 125) == (record["reason"], record["exit_code"])
    assert record["message"].startswith("node 1 (`node2`): ")
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
def test_a_node_that_slurm_loses_is_named_and_ends_itself_when_it_lives_on(launch, slurm):
    run_id = detached(launch, "nodes=3", "params.how=sleep")
    pids = inits(launch, run_id, nodes=3)
    lose(slurm, "node2")
    try:
        launch("wait", run_id, check=None)
        record = launch.record(run_id)
        assert ("lost", "node 1 (`node2`): Slurm says that the machine has failed") == (record["reason"], record["message"])
        assert "saving" in launch("logs", "--node", "2", run_id).stdout
        assert_nothing_is_left(launch, run_id, pids)
    finally:
        mend(slurm, "node2")


@pytest.mark.requires("patience")
def test_the_other_nodes_end_with_the_first_ones_supervisor(launch):
    run_id = detached(launch, "params.how=leave a child")
    pids = inits(launch, run_id, nodes=2)
    os.kill(json.loads((launch.home / f"runs/{run_id}/supervisor.lock").read_text())["pid"], signal.SIGKILL)
    eventually(lambda: launch.record(run_id)["exit_code"] is not None, "its last word")
    assert "lost" == launch.record(run_id)["reason"]
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
def test_a_pause_holds_every_node(launch):
    run_id = detached(launch, "params.how=sleep")
    inits(launch, run_id, nodes=2)
    launch("pause", run_id)
    eventually(lambda: any(event["event"] == "paused" for event in events(launch, run_id, 1)), "the second node's pause")
    launch("unpause", run_id)
    eventually(lambda: any(event["event"] == "unpaused" for event in events(launch, run_id, 1)), "its end")
    launch("kill", run_id, check=None)


@pytest.mark.requires("patience")
def test_a_run_is_tried_again_on_all_its_nodes(launch):
    launch("experiment=meet", "cluster=slurm", "params.how=rank 1 fails", "retries=1", "retry_on=[program]", check=7)
    record = launch.record()
    assert 2 == record["attempt"]
    assert 2 == launch("logs", "--node", "1", record["run_id"]).stdout.count("rank 1 of 2 on node 1: 11")


@pytest.mark.requires("patience")
def test_one_can_look_into_each_node(launch):
    run_id = detached(launch, "params.how=sleep")
    inits(launch, run_id, nodes=2)
    assert f"launch-{run_id}-1\n" == launch("exec", run_id, "--node", "1", "--", "hostname").stdout
    assert "meet.py" in launch("top", run_id, "--node", "1").stdout
    assert "has no node 2" in launch("exec", run_id, "--node", "2", "--", "true", check=2).stderr
    launch("kill", run_id, check=None)


@pytest.mark.requires("patience")
def test_rank_0_speaks_for_the_run_and_every_machine_for_itself(launch):
    launch("experiment=tracked", "cluster=slurm", "params.how=log")
    record = launch.record()
    directory = launch.home / "runs" / record["run_id"]
    assert {"rank": 0.0} == record["metrics"]
    assert 1.0 == json.loads((directory / "nodes/1/logged.jsonl").read_text())["value"]
    sampled = {name for line in (directory / "system.jsonl").read_text().splitlines() for name in json.loads(line)}
    assert {f"node_{node}/system_memory_usage_megabytes" for node in range(2)} <= sampled
    launch("sync")  # on a busy machine the run may have begun before its server answered
    server, known = launch("ui").stdout.strip(), launch.record()["mlflow_run_id"]
    url = f"{server}/api/2.0/mlflow/runs/get?run_id={known}"
    with urllib.request.urlopen(url, timeout=WITHIN_S) as reply:
        found = json.load(reply)["run"]["data"]
    assert {"rank", *(f"system/node_{node}/system_memory_usage_megabytes" for node in range(2))} <= {
        metric["key"] for metric in found["metrics"]
    }
    assert "node1,node2" == {tag["key"]: tag["value"] for tag in found["tags"]}["launch.nodes"]


def begins_again(slurm, job):
    """Whether *job*, which Slurm has requeued, runs again. Slurm keeps it back for two minutes, and sets that a moment after it
    shows it as pending: so it is told not to as often as it is so. Not in the second in which it was requeued, though: its nodes
    refuse the credential of a job that ended in that one."""
    wanted = "--Format=State:|,RestartCnt:|,EligibleTime:|"
    state, restarts, begins = (each.strip() for each in slurm.ask("squeue", "--noheader", wanted, f"--jobs={job}").split("|")[:3])
    if state == "PENDING" and datetime.fromisoformat(begins).timestamp() > time.time() + 5:
        with suppress(subprocess.CalledProcessError):  # it has begun meanwhile
            slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    return (state, restarts) == ("RUNNING", "1")


@pytest.mark.requires("patience")
def test_a_requeued_run_meets_again_on_the_nodes_that_are_left(launch, slurm):
    run_id = detached(launch, "params.how=sleep", "cluster.requeue=true")
    inits(launch, run_id, nodes=2)
    lose(slurm, "node2")
    try:
        job = launch.record(run_id)["job"]
        eventually(lambda: begins_again(slurm, job), "its job's second beginning")
        eventually(lambda: launch("logs", run_id).stdout.count("ready") == 2, "its program's second beginning")
        eventually(lambda: len(launch.record(run_id)["nodes"]) == 2, "its second node")
        assert ["node1", "node3"] == [node["name"] for node in launch.record(run_id)["nodes"]]
        launch("kill", run_id, check=None)
    finally:
        mend(slurm, "node2")
