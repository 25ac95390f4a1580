"""GPUs on several nodes of a real Slurm: each node sees a machine of its own, with a driver, devices and leases of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox, make_box
from launch_command import Launch, write_project
from slurm_bed import GPU_DEVICES, SlurmBed, slurm_bed
from waiting import eventually

from runtime.gpu.leases.lock_files import is_held, lock_path
from tests.cluster.test_several_nodes import assert_nothing_is_left, detached, events, inits

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs", "cc", "unshare")

NODES = 2

PROGRAM = """\
import ctypes, os, signal, sys, time

nvml = ctypes.CDLL("libnvidia-ml.so.1")
nvml.nvmlInit_v2()
count, device, uuid = ctypes.c_uint(), ctypes.c_void_p(), ctypes.create_string_buffer(96)
nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
seen = []
for index in range(count.value):
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device))
    nvml.nvmlDeviceGetUUID(device, uuid, len(uuid))
    seen.append(uuid.value.decode())
nodes = [name for name in os.listdir("/dev") if name.removeprefix("nvidia").isdigit()]
for name in nodes:
    os.close(os.open(f"/dev/{name}", os.O_RDWR))
os.write(1, " ".join([os.environ.get("RANK", "0"), str(len(nodes)), *sorted(seen), "\\n"]).encode())  # whole: ranks share stdout
if sys.argv[1] == "stay":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    time.sleep(600)
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/meet}
command: [python3, meet.py, "${params.how}"]
params: {how: end}
cpus: 1
memory: 256MiB
grace: 2s
tracking: null
"""


@dataclass(frozen=True)
class Machines:
    """Two machines with two GPUs each, which show themselves at one *place*: a node's at its node's."""

    place: Path
    boxes: tuple[GpuBox, ...]

    def env(self) -> dict[str, str]:
        """What a process that sees its machine at the place is told."""
        box = self.boxes[0]
        return {name: value.replace(str(box.directory), str(self.place)) for name, value in box.env.items()}

    def held(self) -> list[set[str]]:
        """UUIDs of what is leased, on each."""
        return [{uuid for uuid in box.uuids if is_held(lock_path(box.directory / "leases", uuid))} for box in self.boxes]


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)  # a container's process 1, nobody outside, finds the nodes in it
        place = Path(directory, "machine")
        place.mkdir()
        names = [f"node{number}" for number in range(1, NODES + 1)]
        boxes = tuple(make_box(place.with_name(name), gpus=2, machine=name) for name in names)
        for box in boxes:
            for minor, device in enumerate(GPU_DEVICES):
                node = box.roots.dev / f"dev/nvidia{minor}"
                node.unlink()
                os.mknod(node, stat.S_IFCHR | 0o666, device)
                node.chmod(0o666)
        yield Machines(place, boxes)
        for box in boxes:
            box.remove()


@contextmanager
def bed(machines: Machines, **wishes: Any) -> Iterator[SlurmBed]:
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    root.chmod(0o755)
    try:
        with slurm_bed(root, nodes=NODES, machines=machines.place, **wishes) as made:
            yield made
            for job in made.jobs():
                made.ask("scancel", job)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def slurm(machines: Machines) -> Iterator[SlurmBed]:
    with bed(machines) as made:
        yield made


@pytest.fixture
def confined(machines: Machines) -> Iterator[SlurmBed]:
    """A job can open the GPUs that its node gave it, and no others."""
    by_cgroup = {"ProctrackType": "proctrack/cgroup", "TaskPlugin": "task/cgroup"}
    with bed(machines, settings=by_cgroup, confined="ConstrainDevices=yes\n") as made:
        yield made


@pytest.fixture(scope="module")
def gpu_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("gpus"), "meet", experiment=EXPERIMENT, program=PROGRAM)


@pytest.fixture
def launch(launch: Launch, gpu_project: Path, machines: Machines) -> Launch:
    return Launch(launch.home, gpu_project, {**launch.environ, **machines.env()})


def leased(launch: Launch, run_id: str, node: int) -> set[str]:
    return {*next(event for event in events(launch, run_id, node) if event["event"] == "leased")["gpus"]}


def said(launch: Launch, run_id: str, node: int) -> list[list[str]]:
    """What each rank of *node* printed: its number, how many nodes it opened, and the UUIDs that the driver shows it."""
    lines = launch("logs", "--node", str(node), run_id).stdout.splitlines()
    return sorted(line.split() for line in lines if line[:1].isdigit())


def assert_all_is_free(launch: Launch, run_id: str, machines: Machines, pids: list[int]) -> None:
    assert_nothing_is_left(launch, run_id, pids)
    eventually(lambda: machines.held() == [set(), set()], lambda: f"the end of {machines.held()}")


def test_each_node_leases_its_own_gpus_and_its_ranks_see_them(launch: Launch, machines: Machines) -> None:
    launch("experiment=meet", "cluster=slurm", "nodes=2", "gpus=2", "processes=per-gpu")
    run_id = launch.record()["run_id"]
    uuids = [{*box.uuids} for box in machines.boxes]
    assert 4 == len(uuids[0] | uuids[1])
    assert uuids == [leased(launch, run_id, node) for node in range(NODES)]
    for node in range(NODES):
        assert [[str(rank), "2", *sorted(uuids[node])] for rank in (2 * node, 2 * node + 1)] == said(launch, run_id, node)
    assert uuids == [{*node["gpus"]} for node in launch.record()["nodes"]]
    assert [set(), set()] == machines.held()


@pytest.mark.parametrize("how", ["stop", "scancel", "kill -9 of a node's supervisor", "kill -9 of the first one"])
def test_the_leases_of_all_nodes_are_free_when_a_run_ends(launch: Launch, slurm: SlurmBed, machines: Machines, how: str) -> None:
    run_id = detached(launch, "nodes=2", "gpus=1", "params.how=stay")
    pids = inits(launch, run_id, nodes=NODES)
    assert [1, 1] == [len(held) for held in machines.held()]
    assert machines.held() == [leased(launch, run_id, node) for node in range(NODES)]
    if how == "stop":
        launch("stop", run_id)
    elif how == "scancel":
        slurm.ask("scancel", launch.record(run_id)["job"])
    else:
        lock = "supervisor.lock" if how.endswith("the first one") else "nodes/1/supervisor.lock"
        os.kill(json.loads((launch.home / "runs" / run_id / lock).read_text())["pid"], signal.SIGKILL)
    eventually(lambda: launch.record(run_id)["exit_code"] is not None, "its last word")
    assert ("lost" if how.startswith("kill") else "stopped") == launch.record(run_id)["reason"]
    assert_all_is_free(launch, run_id, machines, pids)


@pytest.mark.requires("device-cgroup")
def test_jobs_on_one_node_have_the_gpus_that_it_lets_them_open(launch: Launch, confined: SlurmBed, machines: Machines) -> None:
    """Each is told that its GPU is number 0."""
    launch = Launch(launch.home, launch.project, {**launch.environ, **confined.environ})
    words = ("gpus=1", "params.how=stay", "cluster.sbatch.nodelist=node1")
    runs = [detached(launch, *words), detached(launch, *words)]
    pids = [pid for run_id in runs for pid in inits(launch, run_id, nodes=1)]
    assert [{*machines.boxes[0].uuids}, set()] == machines.held()
    for run_id in runs:
        assert [["0", "1", *leased(launch, run_id, 0)]] == said(launch, run_id, 0)
    for run_id in runs:
        launch("stop", run_id)
    for run_id in runs:
        assert_all_is_free(launch, run_id, machines, pids)
    none = confined.ask("srun", "--nodelist=node1", "sh", "-c", f"true >/dev/null; head -c1 {confined.root}/gpu0 2>&1; true")
    assert "Operation not permitted" in none
