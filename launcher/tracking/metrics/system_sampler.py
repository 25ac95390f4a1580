"""What the run takes from the machine, every few seconds, under MLflow's names for system metrics.

Read from outside, out of the run's cgroup: it counts all processes of the run and nothing else, needs nothing in the image, and
costs a few file reads. CPU is a share of the cores that the run was given, memory one of its limit (or the machine's memory);
pressure is the share of the time in which some thread of it stood still for want of CPU, memory or a disk. What went through its
network's links and to disks is counted from an attempt's start; with `network: host` the links are everybody's, and not told.

A process that the kernel has killed for want of memory is told when it is seen: the program may wait for it for ever.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from launcher.journal.events import Note
from launcher.journal.run_journal import Journal, read_state
from launcher.tracking.metrics.samples import append_sample
from launcher.tracking.mlflow.description import Description
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import OomKills
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.kernel.process_identity import is_same_process
from runtime.kernel.process_table import Traffic, read_traffic
from runtime.state_dir import RunDir

_FIRST_AFTER_S = 2.0


class SystemSampler:
    """Appends a sample to `system.jsonl` when one is due, and a note to the journal when a process was killed."""

    def __init__(
        self,
        run_dir: RunDir,
        description: Description,
        journal: Journal,
        *,
        read: Callable[[], Usage] | None = None,
        oom_kills: Callable[[], OomKills | None] | None = None,
        traffic: Callable[[], Traffic | None] | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._nodes = description.nodes
        self._journal = journal
        self._interval_s = description.system_interval_s
        self._cores = description.cpus or float(os.cpu_count() or 1)
        self._memory_bytes = description.memory_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._read = read or (lambda: open_cgroup(run_dir.cgroup_name).usage())
        self._oom_kills = oom_kills or (lambda: open_cgroup(run_dir.cgroup_name).oom_kills())
        self._traffic = traffic or (lambda: traffic_of(run_dir))
        self._due = time.monotonic()
        self._before: tuple[float, Usage] | None = None
        """The last look: when, and what had been used until then."""

    def sample_when_due(self) -> None:
        """Cheap when nothing is due. Without a cgroup (not started yet, ended, not permitted) there is no sample."""
        now = time.monotonic()
        if self._interval_s is None or now < self._due:
            return
        usage = self._read()
        if usage.cpu_s is None and usage.memory_bytes is None:
            self._before = None
            self._due = now + min(_FIRST_AFTER_S, self._interval_s)
            return
        self._tell_kills(usage)
        values = self._values(usage, now)
        self._due = now + (self._interval_s if self._before is not None else min(_FIRST_AFTER_S, self._interval_s))
        self._before = (now, usage)
        if values:
            append_sample(self._run_dir, round(time.time(), 3), values, nodes=self._nodes)

    def _tell_kills(self, usage: Usage) -> None:
        known = self._before[1].oom_kills if self._before else 0
        if usage.oom_kills > known and (killed := self._oom_kills()) is not None:
            self._journal.append(Note(f"{killed.words}; the program goes on"))

    def _values(self, usage: Usage, now: float) -> dict[str, float]:
        """Nothing at the first look: CPU use is a difference."""
        if self._before is None:
            return {}
        values: dict[str, float] = {}
        then, before = self._before
        if now > then:
            if usage.cpu_s is not None:
                share = (usage.cpu_s - (before.cpu_s or 0.0)) / (now - then) / self._cores
                values["cpu_utilization_percentage"] = round(100 * share, 2)
            for resource in ("cpu", "memory", "io"):
                waited, waited_before = getattr(usage, f"{resource}_waited_s"), getattr(before, f"{resource}_waited_s")
                if waited is not None and waited_before is not None:
                    values[f"{resource}_pressure_percentage"] = round(100 * (waited - waited_before) / (now - then), 2)
        if usage.memory_bytes is not None:
            values["system_memory_usage_megabytes"] = round(usage.memory_bytes / 1e6, 2)
            values["system_memory_usage_percentage"] = round(100 * usage.memory_bytes / self._memory_bytes, 2)
        return values | self._moved(usage) | _file_system(self._run_dir.place)

    def _moved(self, usage: Usage) -> dict[str, float]:
        """Megabytes so far: through the network, from and to disks."""
        traffic = self._traffic()
        moved = {
            "network_receive": None if traffic is None else traffic.received_bytes,
            "network_transmit": None if traffic is None else traffic.sent_bytes,
            "disk_read": usage.io_read_bytes,
            "disk_write": usage.io_written_bytes,
        }
        return {f"{name}_megabytes": round(count / 1e6, 3) for name, count in moved.items() if count is not None}


def _file_system(directory: Path) -> dict[str, float]:
    """How full the file system is that outputs, checkpoints and logs are written to, as MLflow has it of `/`."""
    found = os.statvfs(directory)
    used, free = found.f_blocks - found.f_bfree, found.f_bavail
    return {
        "disk_usage_megabytes": round(used * found.f_frsize / 1e6, 2),
        "disk_usage_percentage": round(100 * used / max(1, used + free), 2),
        "disk_available_megabytes": round(free * found.f_frsize / 1e6, 2),
    }


def traffic_of(run_dir: RunDir) -> Traffic | None:
    """Of the container that runs now, where it has a network of its own."""
    started = read_state(run_dir.journal).started
    if started is None or started.init_pid is None or _shares_our_network(run_dir):
        return None
    return read_traffic(started.init_pid) if is_same_process(started.init_pid, started.init_started) else None


def _shares_our_network(run_dir: RunDir) -> bool:
    # Not by comparing namespaces: an ordinary user may not look at that of an undumpable process.
    spec: dict[str, object] = json.loads(run_dir.spec.read_bytes())
    return spec.get("network") == "host"
