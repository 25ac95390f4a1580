"""Processors, memory and network: what this machine offers to us, what a run gets of it, the refusal of more than there is.

What is offered is not what is built in: an affinity mask (taskset, Slurm) or a cgroup around us (a container, a systemd
slice) may leave less.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from launcher.errors import ConfigError, Origin
from runtime.errors import Unsupported
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MachineCapacity:
    """What of the machine this process may use."""

    cpus: float
    memory_bytes: int


@cache
def this_machine() -> MachineCapacity:
    """What we may use here. Read once in a process."""
    own = _own_cgroups()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpus = float(len(os.sched_getaffinity(0)))
    for directory in own:
        memory = min(memory, _memory_limit(directory, memory))
        cpus = min(cpus, _cpu_limit(directory, cpus))
    return MachineCapacity(cpus=cpus, memory_bytes=memory)


def cpu_share(
    asked: float | None, *, machine: MachineCapacity, gpus: float = 0, gpus_present: int = 0, origin: Origin | None = None
) -> float:
    """Cores that a run counts as: *asked*, else the machine's, else (with GPUs) its GPUs' share of the machine's."""
    if asked is not None:
        if asked > machine.cpus:
            raise ConfigError(f"not enough cpus: {asked:g} requested, {machine.cpus:g} present", origin=origin)
        return float(asked)
    if gpus and gpus_present:
        return max(1.0, float(int(machine.cpus * min(1.0, gpus / gpus_present))))
    return machine.cpus


def shm_share(asked: int | None, *, memory_bytes: int | None, machine: MachineCapacity) -> int:
    """Size of /dev/shm: *asked*, else half of the run's memory, or of the machine's. Ranks and workers of loaders pass batches
    there; the 64 MiB that containers often have end them with a bus error."""
    return asked if asked is not None else (memory_bytes or machine.memory_bytes) // 2


def check_memory(asked: int | None, *, machine: MachineCapacity, what: str = "memory", origin: Origin | None = None) -> None:
    """Refuse a limit that this machine cannot give."""
    if asked is not None and asked > machine.memory_bytes:
        raise ConfigError(f"not enough {what}: {_gib(asked)} requested, {_gib(machine.memory_bytes)} present", origin=origin)


def network_kind(network: str) -> str:
    """`pasta` also for an ordinary user's `bridge`: alone on a network, a run can't tell one from the other. Other runs could, so
    a named network stays root's."""
    return "pasta" if network == "bridge" and os.geteuid() != 0 else network


def check_network(network: str, *, origin: Origin | None = None) -> None:
    """Refuse a network that this user cannot make, before an image is built for it."""
    if network in ("none", "host"):
        return
    try:
        if network_kind(network) == "pasta":
            from runtime.network import pasta

            pasta.program()
        elif os.geteuid() != 0:
            from runtime.network.mode import needs_root

            raise needs_root(network)
    except Unsupported as lacking:
        instead = "" if network_kind(network) == network else f"`network: {network}` needs root, or else pasta: "
        raise ConfigError(instead + lacking.message, origin=origin, hint=lacking.hint) from lacking


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB"


def _own_cgroups() -> list[Path]:
    """Our own directory in the memory, cpu and v2 hierarchies, and those above it that we can see.

    Mount points are the customary ones: this is an estimate for refusing early; `runtime.cgroup` finds the real ones.
    """
    directories: list[Path] = []
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        mount = _customary_mount(controllers)
        if mount is None:
            continue
        below = path.strip("/").split("/") if path.strip("/") else []
        directories += [mount.joinpath(*below[:depth]) for depth in range(len(below), -1, -1)]
    return directories


def _customary_mount(controllers: str) -> Path | None:
    if not controllers:
        return Path("/sys/fs/cgroup")
    for controller in controllers.split(","):
        if controller in ("memory", "cpu"):
            return Path("/sys/fs/cgroup") / controller
    return None


def _memory_limit(directory: Path, unlimited: int) -> int:
    for name in ("memory.max", "memory.limit_in_bytes"):
        for line in _lines(directory / name):
            return int(line) if line.isdigit() else unlimited
    return unlimited


def _cpu_limit(directory: Path, unlimited: float) -> float:
    for line in _lines(directory / "cpu.max"):
        quota, period = line.split()
        return unlimited if quota == "max" else int(quota) / int(period)
    for quota in _lines(directory / "cpu.cfs_quota_us"):
        for period in _lines(directory / "cpu.cfs_period_us"):
            return unlimited if int(quota) < 0 else int(quota) / int(period)
    return unlimited


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        # Not mounted here, or not ours to read: no limit that we could know of.
        return []
