"""Ranks on several nodes that find each other by Slurm's PMI2 and PMIx, as srun's tasks do."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from counting_run import lives
from launch_command import Launch
from mpi_project import write_ranks
from test_several_nodes import assert_nothing_is_left, begins_again, events, inits
from waiting import eventually

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs")

OPENMPI = ("cluster.mpi=pmix", "params.library=libmpi.so.40")
MPICH = ("cluster.mpi=pmi2", "params.library=libmpich.so.12")
LIBRARIES = [pytest.param(OPENMPI, id="OpenMPI, PMIx"), pytest.param(MPICH, id="MPICH, PMI2")]


@pytest.fixture(scope="session")
def ranks_project(tmp_path_factory):
    return write_ranks(tmp_path_factory.mktemp("ranks"))


@pytest.fixture
def launch(launch, ranks_project):
    """The cluster's `launch`, in the project whose ranks speak."""
    return Launch(launch.home, ranks_project, launch.environ)


def said_on_all_nodes(launch, run_id="@last"):
    return sorted(launch("logs", "--all-nodes", run_id).stdout.splitlines())


def sleeping(launch, *overrides):
    """A run whose ranks wait for their end, and the processes that its containers hang on."""
    run_id = launch("experiment=wire", "cluster=slurm", "-d", "-q", "params.how=sleep", *overrides).stdout.strip()
    return run_id, inits(launch, run_id, nodes=2)


def ranks_tasks():
    """Pids of the tasks that came for ranks: `rank_main.py SITE RUN_DIR 2`."""
    words = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in filter(str.isdigit, os.listdir("/proc"))}
    found = {}
    for pid, path in words.items():
        try:
            argv = path.read_text().split("\0")[:-1]
        except OSError:
            continue
        if len(argv) == 7 and argv[3].endswith("rank_main.py"):
            found[pid] = argv[5]
    return found


def test_ranks_of_two_nodes_are_one_world(launch):
    launch("experiment=wire", "cluster=slurm")
    expected = [f"node {rank // 2} | rank {rank} of 4: 1111 {rank} {rank}" for rank in range(4)]
    assert expected == said_on_all_nodes(launch)
    assert "completed" == launch.record()["reason"]


def test_ranks_of_one_node_are_one_world(launch):
    launch("experiment=wire", "cluster=slurm", "nodes=1", "processes=3")
    assert [f"rank {rank} of 3: 111 {rank} {rank}" for rank in range(3)] == sorted(launch("logs", "@last").stdout.splitlines())


def test_worlds_of_one_are_an_error(launch):
    """What an MPI does that is not built for this process manager: each rank computes everything, and all end well."""
    done = launch("experiment=wire", "cluster=slurm", "params.how=nobody speaks", check=125)
    assert "of 4 was alone: it has never spoken PMI2; is it an MPI program" in done.stderr
    assert ("program", 125) == (launch.record()["reason"], launch.record()["exit_code"])


def test_a_step_that_does_not_begin_is_told_with_srun_s_words(launch, tmp_path):
    (tmp_path / "srun").write_text(
        """#!/bin/sh
case "$*" in *--mpi=list*) exec /usr/bin/srun "$@";; esac
echo "srun: error: Unable to create step" >&2
exit 1
"""
    )
    (tmp_path / "srun").chmod(0o755)
    path = {**launch.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = Launch(launch.home, launch.project, path)("experiment=wire", "cluster=slurm", "nodes=1", check=125)
    assert "launch: `srun --mpi=pmi2`: Unable to create step" in done.stderr


def test_a_rank_that_fails_gives_its_exit_code_and_ends_all(launch):
    done = launch("experiment=wire", "cluster=slurm", "params.how=rank 1 fails", check=7)
    record = launch.record()
    assert ("program", "node 0 (`node1`): its program ended with exit code 7") == (record["reason"], record["message"])
    assert "saving" in done.stdout
    assert_nothing_is_left(launch, record["run_id"])


@pytest.mark.requires("patience")
def test_a_stop_reaches_every_rank(launch):
    run_id, pids = sleeping(launch)
    launch("stop", run_id)
    assert "stopped" == launch.record(run_id)["reason"]
    assert 4 == "\n".join(said_on_all_nodes(launch, run_id)).count("saving")
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
def test_scancel_ends_ranks_and_tasks(launch, slurm):
    run_id, pids = sleeping(launch)
    slurm.ask("scancel", launch.record(run_id)["job"])
    eventually(lambda: launch.record(run_id)["exit_code"] is not None, "its last word")
    assert "stopped" == launch.record(run_id)["reason"]
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("node", [0, 1])
def test_ranks_and_tasks_end_with_a_supervisor_that_is_killed(launch, node):
    run_id, pids = sleeping(launch)
    place = launch.home / "runs" / run_id / (f"nodes/{node}" if node else "")
    os.kill(json.loads((place / "supervisor.lock").read_text())["pid"], signal.SIGKILL)
    eventually(lambda: launch.record(run_id)["exit_code"] is not None, "its last word")
    assert "lost" == launch.record(run_id)["reason"]
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
def test_a_task_that_is_killed_ends_the_run(launch):
    run_id, pids = sleeping(launch)
    directory = str(launch.home / "runs" / run_id)
    task = next(pid for pid, place in ranks_tasks().items() if place == directory)
    os.kill(task, signal.SIGKILL)
    launch("wait", run_id, check=125)
    assert "the cluster has ended the task of rank" in launch("logs", "--all-nodes", run_id).stderr
    assert_nothing_is_left(launch, run_id, pids)


@pytest.mark.requires("patience")
def test_a_second_attempt_has_a_world_of_its_own(launch):
    launch("experiment=wire", "cluster=slurm", "params.how=rank 1 fails", "retries=1", "retry_on=[program]", check=7)
    assert 2 == launch.record()["attempt"]
    assert 2 == launch("logs", "@last").stdout.count("rank 1 of 4: 1111")


@pytest.mark.requires("patience")
def test_a_requeued_run_has_a_world_again(launch, slurm):
    run_id, first = sleeping(launch, "cluster.requeue=true")
    job = launch.record(run_id)["job"]
    slurm.ask("scontrol", "requeue", job)
    eventually(lambda: not any(map(lives, first)), "the end of the first attempt")
    eventually(lambda: begins_again(slurm, job), "its job's second beginning")
    eventually(lambda: launch("logs", run_id).stdout.count("ready") == 4, "its ranks' second beginning")
    assert 2 == launch.record(run_id)["attempt"]
    assert any(event["event"] == "resumed" for event in events(launch, run_id, 1))
    launch("kill", run_id, check=None)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_ring_of_a_library_goes_round_two_nodes(launch, library):
    launch("experiment=ring", "cluster=slurm", *library)
    totals = ("1111", "11", "111", "1111")
    assert [f"node {rank // 2} | rank {rank} of 4: {total}" for rank, total in enumerate(totals)] == said_on_all_nodes(launch)


@pytest.mark.requires("patience")
@pytest.mark.parametrize("library", [(OPENMPI[1], MPICH[0]), (MPICH[1], OPENMPI[0])], ids=["OpenMPI, PMI2", "MPICH, PMIx"])
def test_a_library_with_the_others_process_manager_is_an_error(launch, library):
    done = launch("experiment=ring", "cluster=slurm", *library, check=125)
    assert "of 4 was alone" in done.stderr + launch("logs", "--all-nodes", "@last").stderr


@pytest.mark.requires("patience")
@pytest.mark.parametrize("library", LIBRARIES)
def test_mpi_abort_ends_all_ranks(launch, library):
    launch("experiment=ring", "cluster=slurm", "params.how=abort", *library, check=None)
    record = launch.record()
    assert ("program", True) == (record["reason"], record["exit_code"] in (3, 125))
    assert_nothing_is_left(launch, record["run_id"])
