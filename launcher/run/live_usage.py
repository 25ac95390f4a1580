"""What a run uses at this moment, out of its cgroup; out of /proc where it has none (an ordinary user on cgroup version 1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from launcher.journal.run_journal import read_state
from launcher.tracking.metrics.system_sampler import traffic_of
from launcher.tracking.record.run_record import RunRecord
from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.control_file import read_number
from runtime.cgroup.freezer import is_frozen
from runtime.cgroup.oom import memory_limit
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.kernel.process_identity import is_same_process
from runtime.kernel.process_table import ProcessFacts, Traffic, io_bytes, tree_below
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one run."""

    at: float
    """Monotonic seconds."""
    cpu_s: float | None
    """Since the start."""
    memory_bytes: int | None
    memory_limit_bytes: int | None
    processes: int | None
    paused: bool
    traffic: Traffic | None = None
    """Over the network; None for a run that has no interface, or the machine's."""
    disk_bytes: tuple[int, int] | None = None
    """Read and written."""
    gpus: tuple[dict[str, Any], ...] = ()

    def cores_since(self, before: Sample | None) -> float | None:
        """How many cores were busy since *before*."""
        if before is None or self.cpu_s is None or before.cpu_s is None or self.at <= before.at:
            return None
        return max(0.0, (self.cpu_s - before.cpu_s) / (self.at - before.at))


def init_pid(record: RunRecord) -> int | None:
    """The container's PID 1 as we see it; None when it is gone."""
    started = read_state(record.run_dir.journal).started
    return started.init_pid if started is not None and is_same_process(started.init_pid, started.init_started) else None


def processes_of(record: RunRecord) -> list[ProcessFacts]:
    """Everything that runs in the container, its init first."""
    pid = init_pid(record)
    return [] if pid is None else tree_below(pid)


def sample(record: RunRecord, *, gpus: Sequence[dict[str, Any]] = ()) -> Sample:
    """*gpus* is what `runtime.gpu.inventory.read_load` says of all GPUs."""
    cgroup = open_cgroup(record.run_dir.cgroup_name)
    usage = cgroup.usage()
    cpu_s, memory, count = usage.cpu_s, usage.memory_bytes, _process_count(cgroup)
    at = time.monotonic()
    init = init_pid(record)
    disk = None if usage.io_read_bytes is None else (usage.io_read_bytes, usage.io_written_bytes or 0)
    if cpu_s is None or memory is None or count is None or disk is None:
        tree = [] if init is None else tree_below(init)
        disk = _disk_bytes(tree) if disk is None else disk
        cpu_s = sum(one.cpu_s for one in tree) if cpu_s is None else cpu_s
        memory = sum(one.memory_bytes for one in tree) if memory is None else memory
        count = len(tree) if count is None else count
    mine = tuple(gpu for gpu in gpus if gpu.get("uuid") in record.gpus)
    return Sample(at, cpu_s, memory, _memory_limit(cgroup), count, is_frozen(cgroup), traffic_of(record.run_dir), disk, mine)


def _disk_bytes(tree: Sequence[ProcessFacts]) -> tuple[int, int] | None:
    """Of a run without the `io` controller: what its processes count, each with its children that have ended."""
    counts = [counted for one in tree if (counted := io_bytes(one.pid)) is not None]
    return (sum(read for read, _ in counts), sum(written for _, written in counts)) if counts else None


def _process_count(cgroup: Cgroup) -> int | None:
    pids = cgroup.controllers.get("pids")
    return None if pids is None else read_number(pids / "pids.current")


def _memory_limit(cgroup: Cgroup) -> int | None:
    memory = cgroup.controllers.get("memory")
    return None if memory is None else memory_limit(memory)
