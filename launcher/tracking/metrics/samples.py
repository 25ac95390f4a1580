"""`system.jsonl`: what a run takes from its machine, sample after sample; of one on several nodes each under its node's name.

Readings of a run's GPUs have MLflow's names where it has one, `gpu_{i}_…` in its manner elsewhere: i is the place among the
leased GPUs, as the program counts them. A value that a GPU doesn't tell has no metric.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from launcher.journal.run_journal import append_line
from runtime.gpu.gpu import GpuLoad
from runtime.state_dir import RunDir


def append_sample(run_dir: RunDir, at: float, values: Mapping[str, float], *, nodes: int) -> None:
    """Add what was seen *at* (Unix seconds) of a run on so many *nodes*: `cpu_…`, or `node_1/cpu_…`. Raises OSError."""
    prefix = f"node_{run_dir.node}/" if nodes > 1 else ""
    line = json.dumps({"time": at, **{f"{prefix}{name}": value for name, value in values.items()}}) + "\n"
    append_line(run_dir.system_metrics, line.encode())


_SPEEDS = {
    "pcie_send": "pcie_sent_bytes",
    "pcie_receive": "pcie_received_bytes",
    "nvlink_send": "nvlink_sent_bytes",
    "nvlink_receive": "nvlink_received_bytes",
}


def gpu_metrics(
    loads: Sequence[GpuLoad], before: Sequence[GpuLoad] = (), *, seconds: float = 0.0, energy_j: Sequence[float | None] = ()
) -> dict[str, float]:
    """The metrics of one look. *before* was read *seconds* earlier; *energy_j* is what each GPU used for the run so far."""
    values: dict[str, float] = {}
    earlier = {load.uuid: load for load in before}
    for index, load in enumerate(loads):
        of_one = _now(load) | _speeds(load, earlier.get(load.uuid), seconds)
        energy = energy_j[index] if index < len(energy_j) else None
        of_one["energy_watt_hours"] = None if energy is None else energy / 3600
        values |= {f"gpu_{index}_{name}": round(value, 3) for name, value in of_one.items() if value is not None}
    return values


def _now(load: GpuLoad) -> dict[str, float | None]:
    used, whole = load.used_bytes, load.memory_bytes
    return {
        "utilization_percentage": load.busy_percent,
        "memory_usage_megabytes": None if used is None else used / 1e6,
        "memory_usage_percentage": None if used is None or not whole else 100 * used / whole,
        "power_usage_watts": load.power_w,
        "temperature_celsius": load.temperature_c,
        "sm_clock_megahertz": load.sm_clock_mhz,
        "memory_clock_megahertz": load.memory_clock_mhz,
        "clock_event_reasons": load.clock_reasons,
    }


def _speeds(load: GpuLoad, before: GpuLoad | None, seconds: float) -> dict[str, float | None]:
    """Megabytes a second since *before*. A counter that has begun anew tells nothing."""
    speeds: dict[str, float | None] = {}
    for name, field in _SPEEDS.items():
        now, then = getattr(load, field), None if before is None else getattr(before, field)
        of_this_moment = getattr(load, f"{name}_bytes_per_s", None)
        if of_this_moment is not None:
            speeds[f"{name}_megabytes_per_second"] = of_this_moment / 1e6
        if now is not None and then is not None and seconds > 0 and now >= then:
            speeds[f"{name}_megabytes_per_second"] = (now - then) / seconds / 1e6
    return speeds
