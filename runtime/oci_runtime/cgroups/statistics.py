"""What a bundle's container has used, in the words of `runc events`, which engines and exporters read.

The structure is runc's (types/events.go); a value that this kernel doesn't tell is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.control_file import read_keyed, read_number, read_value

_V1_IO = {"ioServiceBytesRecursive": "io_service_bytes_recursive", "ioServicedRecursive": "io_serviced_recursive"}
_V2_CPU = {"total": "usage", "kernel": "system", "user": "user"}
_V2_IO = {"ioServiceBytesRecursive": ("rbytes", "wbytes"), "ioServicedRecursive": ("rios", "wios")}


def statistics(cgroup: Cgroup) -> dict[str, Any]:
    """The `data` of an event of the type `stats`."""
    v1, v2 = cgroup.controllers, cgroup.unified
    return _without_none(
        {
            "cpu": _cpu_v1(v1) if "cpuacct" in v1 else _cpu_v2(v2),
            "memory": _memory_v1(v1["memory"]) if "memory" in v1 else _memory_v2(v2),
            "pids": _pids(v1.get("pids", v2)),
            "blkio": _io_v1(v1["blkio"]) if "blkio" in v1 else _io_v2(v2),
        }
    )


def _cpu_v1(v1: Mapping[str, Path]) -> dict[str, Any]:
    acct, cpu = v1["cpuacct"], v1.get("cpu")
    per_cpu = [int(one) for one in (read_value(acct / "cpuacct.usage_percpu") or "").split()]
    times = [read_number(acct / f"cpuacct.usage_{kind}") for kind in ("sys", "user")]
    usage = {"total": read_number(acct / "cpuacct.usage"), "percpu": per_cpu or None, "kernel": times[0], "user": times[1]}
    stat = cpu / "cpu.stat" if cpu is not None else None
    return {"usage": usage, "throttling": _throttling(stat, "throttled_time", 1)}


def _cpu_v2(v2: Path | None) -> dict[str, Any] | None:
    if v2 is None:
        return None
    stat = v2 / "cpu.stat"
    used = {name: _scale(read_keyed(stat, f"{key}_usec"), 1000) for name, key in _V2_CPU.items()}
    return {"usage": used, "throttling": _throttling(stat, "throttled_usec", 1000)}


def _throttling(stat: Path | None, time_key: str, scale: int) -> dict[str, Any] | None:
    if stat is None or (periods := read_keyed(stat, "nr_periods")) is None:
        return None
    held = _scale(read_keyed(stat, time_key), scale)
    return {"periods": periods, "throttledPeriods": read_keyed(stat, "nr_throttled"), "throttledTime": held}


def _memory_v1(memory: Path) -> dict[str, Any]:
    def entry(kind: str) -> dict[str, Any] | None:
        usage = read_number(memory / f"memory.{kind}usage_in_bytes")
        if usage is None:
            return None
        return {
            "usage": usage,
            "max": read_number(memory / f"memory.{kind}max_usage_in_bytes"),
            "limit": read_number(memory / f"memory.{kind}limit_in_bytes"),
            "failcnt": read_number(memory / f"memory.{kind}failcnt"),
        }

    raw = _raw(memory)
    return {
        "usage": entry(""),
        "swap": entry("memsw."),
        "kernel": entry("kmem."),
        "kernelTCP": entry("kmem.tcp."),
        "cache": raw.get("cache"),
        "raw": raw,
    }


def _memory_v2(v2: Path | None) -> dict[str, Any] | None:
    if v2 is None or (usage := read_number(v2 / "memory.current")) is None:
        return None
    raw = _raw(v2)
    swap = read_number(v2 / "memory.swap.current")
    return {
        "usage": {"usage": usage, "max": read_number(v2 / "memory.peak"), "limit": _limit(v2 / "memory.max")},
        "swap": None if swap is None else {"usage": swap, "limit": _limit(v2 / "memory.swap.max")},
        "cache": raw.get("file"),
        "raw": raw,
    }


def _raw(directory: Path) -> dict[str, int]:
    lines = (read_value(directory / "memory.stat") or "").splitlines()
    return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}


def _pids(directory: Path | None) -> dict[str, Any] | None:
    if directory is None or (current := read_number(directory / "pids.current")) is None:
        return None
    return {"current": current, "limit": read_number(directory / "pids.max")}


def _io_v1(blkio: Path) -> dict[str, Any]:
    return {name: _io_v1_entries(blkio, file) for name, file in _V1_IO.items()}


def _io_v1_entries(blkio: Path, file: str) -> list[dict[str, Any]]:
    """Of the I/O scheduler BFQ where it counts, else of the throttling layer, which sees every device."""
    for policy in ("bfq", "throttle"):
        found = []
        for line in (read_value(blkio / f"blkio.{policy}.{file}") or "").splitlines():
            device, *counted = line.split()
            if device != "Total" and len(counted) == 2:
                found.append(_io_entry(device, counted[0], int(counted[1])))
        if found:
            return found
    return []


def _io_v2(v2: Path | None) -> dict[str, Any] | None:
    if v2 is None or (content := read_value(v2 / "io.stat")) is None:
        return None
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in _V2_IO}
    for line in content.splitlines():
        device, *fields = line.split()
        counted = dict(field.split("=", 1) for field in fields if "=" in field)
        for name, keys in _V2_IO.items():
            operations = zip(("Read", "Write"), keys, strict=True)
            entries[name] += [_io_entry(device, operation, int(counted[key])) for operation, key in operations if key in counted]
    return entries


def _io_entry(device: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _limit(file: Path) -> int | None:
    """As runc says it: no limit is the largest number that there is."""
    value = read_value(file)
    return (1 << 64) - 1 if value == "max" else read_number(file)


def _scale(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    kept = {name: _without_none(value) if isinstance(value, dict) else value for name, value in document.items()}
    return {name: value for name, value in kept.items() if value is not None}
