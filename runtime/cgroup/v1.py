"""cgroup v1 controllers: `memory`, `cpu`, `cpuacct` and `pids` (Documentation/admin-guide/cgroup-v1).

One directory a controller, each below our own in that controller's hierarchy. `cpu` and `cpuacct` are often one mount.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.cgroup.control_file import Setting, make_empty
from runtime.cgroup.limits import Limits

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")

FREEZER = "freezer"
"""Needed only where there is no v2 hierarchy, which freezes without controllers (`freezer.py`)."""

CPU_PERIOD_US = 100_000


def make_directories(
    own: dict[str, Path], name: str, controllers: Sequence[str] = CONTROLLERS
) -> tuple[dict[str, Path], dict[str, OSError]]:
    """Make *name* below our own directory of each controller. Returns what was made, and why the rest was not."""
    made: dict[str, Path] = {}
    refused: dict[str, OSError] = {}
    for controller in controllers:
        if controller not in own:
            continue
        directory = own[controller] / name
        try:
            if directory not in made.values():
                make_empty(directory)
        except OSError as error:
            refused[controller] = error
        else:
            made[controller] = directory
    return made, refused


def settings(limits: Limits) -> list[Setting]:
    """*limits* as file contents, in the order in which the kernel accepts them."""
    wanted = []
    if limits.memory_bytes is not None:
        # Memory plus swap gets the same limit, after memory's (it may never be lower): with swap left open the limit would
        # only push the program there. The file is absent with `swapaccount=0`.
        wanted.append(Setting("memory", "memory.limit_in_bytes", str(limits.memory_bytes)))
        wanted.append(Setting("memory", "memory.memsw.limit_in_bytes", str(limits.memory_bytes), required=False))
    if limits.cpus is not None:
        # CFS bandwidth; the kernel wants a quota of 1 ms at least.
        wanted.append(Setting("cpu", "cpu.cfs_period_us", str(CPU_PERIOD_US)))
        wanted.append(Setting("cpu", "cpu.cfs_quota_us", str(max(1000, round(limits.cpus * CPU_PERIOD_US)))))
    if limits.pids is not None:
        wanted.append(Setting("pids", "pids.max", str(limits.pids)))
    return wanted
