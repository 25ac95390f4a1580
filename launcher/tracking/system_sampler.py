"""What the run takes from the machine, every few seconds, under MLflow's names for system metrics.

Read from outside, out of the run's cgroup: it counts all processes of the run and nothing else, needs nothing in the image, and
costs a few file reads. CPU is a share of the cores that the run was given, memory one of its limit (or the machine's memory).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from launcher.tracking.description import Description
from runtime.cgroup.cgroup import open_cgroup
from runtime.cgroup.limits import Usage
from runtime.state_dir import RunDir

_FIRST_AFTER_S = 2.0


class SystemSampler:
    """Appends a sample to `system.jsonl` when one is due."""

    def __init__(self, run_dir: RunDir, description: Description, *, read: Callable[[], Usage] | None = None) -> None:
        self._path = run_dir.system_metrics
        self._interval_s = description.system_interval_s
        self._cores = description.cpus or float(os.cpu_count() or 1)
        self._memory_bytes = description.memory_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._read = read or (lambda: open_cgroup(f"launch-{run_dir.run_id}").usage())
        self._due = time.monotonic()
        self._before: tuple[float, float] | None = None
        """When the last sample was taken, and the CPU seconds until then."""

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
        values = self._values(usage, now)
        self._due = now + (self._interval_s if self._before is not None else min(_FIRST_AFTER_S, self._interval_s))
        self._before = (now, usage.cpu_s or 0.0)
        if values:
            with self._path.open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")

    def _values(self, usage: Usage, now: float) -> dict[str, float]:
        """Nothing at the first look: CPU use is a difference."""
        if self._before is None:
            return {}
        values: dict[str, float] = {}
        then, used_s = self._before
        if usage.cpu_s is not None and now > then:
            share = (usage.cpu_s - used_s) / (now - then) / self._cores
            values["cpu_utilization_percentage"] = round(100 * share, 2)
        if usage.memory_bytes is not None:
            values["system_memory_usage_megabytes"] = round(usage.memory_bytes / 1e6, 2)
            values["system_memory_usage_percentage"] = round(100 * usage.memory_bytes / self._memory_bytes, 2)
        return values
