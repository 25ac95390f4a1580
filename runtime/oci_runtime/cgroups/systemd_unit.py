"""`--systemd-cgroup`: `cgroupsPath` is SLICE:PREFIX:NAME, and the cgroup is the scope PREFIX-NAME.scope in that slice.

systemd makes it, with those limits that it knows, since it would set its own otherwise whenever it looks at its units again.
Where there is no systemd to ask the cgroup lies where it would have put it. No I/O here.
"""

from __future__ import annotations

from runtime.cgroup.limit_files import weight_of_shares
from runtime.errors import ContainerError
from runtime.oci.resource_config import Resources


def scope_of(path: str | None, container_id: str) -> tuple[str, str]:
    """Slice and unit."""
    slice_name, prefix, name = "", "launch", container_id
    if path is not None:
        parts = path.split(":")
        if len(parts) != 3:
            raise ContainerError(f"`linux.cgroupsPath` is not SLICE:PREFIX:NAME: `{path}`")
        slice_name, prefix, name = parts[0], parts[1], parts[2] or name
    if (slice_name and not slice_name.endswith(".slice")) or "/" in slice_name or ".." in name or "/" in name:
        raise ContainerError(f"not a slice of systemd: `{slice_name}`")
    return slice_name, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def limit_properties(resources: Resources) -> list[tuple[str, str, int]]:
    """Limits as properties of a unit (systemd.resource-control(5))."""
    memory, cpu = resources.memory, resources.cpu
    wanted = [("TasksMax", "t", _or_infinity(resources.pids if resources.pids is not None else -1))]
    if memory.limit:
        wanted.append(("MemoryMax", "t", _or_infinity(memory.limit)))
    if memory.reservation:
        wanted.append(("MemoryLow", "t", _or_infinity(memory.reservation)))
    if memory.swap is not None and memory.limit is not None and memory.limit > 0:
        wanted.append(("MemorySwapMax", "t", _or_infinity(memory.swap - memory.limit if memory.swap >= 0 else -1)))
    if cpu.shares:
        wanted.append(("CPUWeight", "t", weight_of_shares(cpu.shares)))
    if cpu.quota and cpu.quota > 0:
        wanted.append(("CPUQuotaPerSecUSec", "t", cpu.quota * 1_000_000 // (cpu.period or 100_000)))
    return wanted


def _or_infinity(value: int) -> int:
    return value if value >= 0 else (1 << 64) - 1


def cgroup_path(path: str | None, container_id: str) -> str:
    """Where systemd would put the scope (systemd.slice(5): dashes in a slice's name are levels)."""
    slice_name, unit = scope_of(path, container_id)
    slice_name = slice_name or "system.slice"
    words = slice_name.removesuffix(".slice").split("-")
    levels = [] if slice_name == "-.slice" else ["-".join(words[: count + 1]) + ".slice" for count in range(len(words))]
    return "/" + "/".join([*levels, unit])
