"""`launch gpus show GPU`: everything that is known of one GPU, and for what is not known, why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from launcher.cli import render
from launcher.cli.gpus.view import View, document, look
from launcher.errors import ConfigError
from runtime.gpu.gpu import Gpu

_NAMES = {
    "uuid": "uuid",
    "model": "model",
    "vendor": "vendor",
    "brand": "brand",
    "driver": "driver",
    "cuda": "CUDA",
    "capability": "capability",
    "minor": "minor number",
    "pci_bus_id": "PCI address",
    "numa_node": "NUMA node",
    "cpus": "CPUs near it",
    "memory_bytes": "memory",
    "used_bytes": "memory used",
    "busy_percent": "busy",
    "power_w": "power",
    "power_limit_w": "power limit",
    "temperature_c": "temperature",
}
_UNITS = {"busy_percent": " %", "power_w": " W", "power_limit_w": " W", "temperature_c": " °C"}


def show_gpu(reference: str, *, as_json: bool) -> int:
    view = look(os.environ, with_topology=False)
    gpu = _find_gpu(reference, view)
    facts = document(view)["gpus"][view.gpus.index(gpu)]
    if as_json:
        render.print_json(facts)
    else:
        print("\n".join(_lines(facts)))
    return 0


def _find_gpu(reference: str, view: View) -> Gpu:
    found = [gpu for gpu in view.gpus if _is_named(gpu, reference)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{gpu.index} ({gpu.uuid or 'no UUID'})" for gpu in view.gpus) or "none"
    words = "more than one GPU" if found else "no GPU"
    raise ConfigError(f"`{reference}` is {words}", hint=f"there are: {there}")


def _is_named(gpu: Gpu, reference: str) -> bool:
    if reference.isdigit() and len(reference) < 4:
        return gpu.index == int(reference)
    uuids = (gpu.uuid, *(one.uuid for one in gpu.mig))
    return any(uuid is not None and uuid.removeprefix("GPU-").startswith(reference.removeprefix("GPU-")) for uuid in uuids)


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"GPU {facts['index']}"
    rows = [(words, _value(name, facts[name]) or _reason(name, facts)) for name, words in _NAMES.items()]
    rows += [("nodes", " ".join(facts["render_nodes"])), ("health", facts["trouble"] or "ok")]
    rows += [("warning", words) for words in facts["warnings"]]
    rows += [("slice", f"{one['index']}: {one['profile']} {one['uuid']}") for one in facts["mig"]]
    for one in facts["processes"]:
        run = f"run {one['run']}" if one["run"] else "outside launch"
        rows.append(("process", f"{one['pid']} {one['user'] or '?'} {run} {one['command'] or ''}".rstrip()))
    rows += [("lease", f"run {one['run']} of {one['user']}") for one in facts["leases"]]
    rows += [("not told", f"{name}: {reason}") for name, reason in facts["unknown"].items() if name not in _NAMES]
    yield from (f"  {words:<13} {render.printable(value)}" for words, value in rows if value)


def _value(name: str, value: object) -> str:
    if value is None:
        return ""
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    return f"{value:.3g}{_UNITS[name]}" if name in _UNITS and isinstance(value, int | float) else str(value)


def _reason(name: str, facts: dict[str, Any]) -> str:
    reason = facts["unknown"].get(name)
    return f"not told: {reason}" if reason else "-"
