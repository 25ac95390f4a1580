"""What a run used, in a line for people: `memory 141 MiB at most, 12.3 s of CPU, ...; waited 0.40 s for CPU`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from launcher.cli import render
from runtime.cgroup.oom import memory_words

_WORDS: dict[str, Callable[[Any], str]] = {
    "peak_memory_bytes": lambda value: f"memory {memory_words(value)} at most",
    "peak_process_bytes": lambda value: f"largest process {memory_words(value)}",
    "peak_swap_bytes": lambda value: f"{memory_words(value)} in swap",
    "cpu_s": lambda value: f"{render.duration(value)} of CPU",
    "peak_pids": lambda value: f"{value} threads at most",
    "io_read_bytes": lambda value: f"read {render.size(value)}",
    "io_written_bytes": lambda value: f"wrote {render.size(value)}",
    "oom_kills": lambda value: f"{value} killed for want of memory",
    "gpu_hours": lambda value: f"{value:.3g} GPU-hours",
    "gpu_energy_wh": lambda value: f"{value:.3g} Wh on GPUs",
    "cpu_throttled_s": lambda value: f"held back {render.duration(value)} by the limit of CPUs",
}
"""Field of the record's `usage` → words; 0 is not worth any."""

_WAITED = {"cpu_waited_s": "CPU", "memory_waited_s": "memory", "io_waited_s": "disks"}

_LEFT_OUT = frozenset({"memory_bytes"})
"""Memory at the very end says nothing."""


def usage_words(usage: Mapping[str, Any]) -> str:
    """*usage* of a record; what this file doesn't know is shown by its name."""
    used = [words(usage[name]) for name, words in _WORDS.items() if usage.get(name)]
    unknown = sorted(set(usage) - set(_WORDS) - set(_WAITED) - _LEFT_OUT)
    used += [f"{name} {usage[name]}" for name in unknown]
    waited = [f"{render.duration(usage[name])} for {what}" for name, what in _WAITED.items() if (usage.get(name) or 0) >= 0.01]
    return ", ".join(used) + (f"; waited {', '.join(waited)}" if waited else "")
