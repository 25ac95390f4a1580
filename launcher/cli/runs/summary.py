"""The last lines of a run: id, status, duration, metrics, where things are, how to run it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.cli import render
from launcher.journal.status import RunStatus
from launcher.tracking.lack import warnings
from launcher.tracking.record.regular_files import WORKSPACE
from launcher.tracking.record.run_nodes import failed_node
from launcher.tracking.record.run_record import RunRecord
from runtime.cgroup.oom import memory_words
from runtime.plurals import counted

_MARK = {RunStatus.FINISHED: ("✔", "green"), RunStatus.FAILED: ("✘", "red"), RunStatus.KILLED: ("■", "yellow")}
_WORDS = {
    "completed": "finished",
    "program": "failed",
    "stopped": "was stopped",
    "interrupted": "was interrupted",
    "timeout": "ran into its timeout",
    "oom": "ran out of memory",
    "pruned": "was pruned",
    "preempted": "was preempted",
    "gpu_lost": "lost its GPU",
    "lost": "was lost",
    "launcher": "could not be run",
    "idle": "ended, for nobody used it (`dev.idle`),",
}
_METRICS_SHOWN = 6
_WRITTEN_SHOWN = 4

_USED: dict[str, Callable[[Any], str]] = {
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


def print_summary(record: RunRecord) -> None:
    render.say(headline(record))
    if record.message:
        render.say(f"  {'note  ' if record.status is RunStatus.FINISHED else 'reason'}   {record.message}")
    blamed = failed_node(record.nodes)
    if blamed or record.status is RunStatus.FAILED:
        render.say(f"  logs     launch logs {record.run_id}{f' --node {blamed}' if blamed else ''}")
    gpu_words = usage_words({name: value for name, value in record.usage.items() if name.startswith("gpu_")})
    if gpu_words:
        render.say(f"  gpus     {gpu_words}")
    files, total = _files_below(record.run_dir.outputs)
    if files:
        render.say(f"  outputs  {render.home_relative(record.run_dir.outputs)} ({counted(files, 'file')}, {render.size(total)})")
    if written := _written(record):
        render.say(f"  kept     what it wrote in its working directory, in outputs/workspace: {written}")
    if record.mlflow_url:
        render.say(f"  mlflow   {record.mlflow_url}")
    for words in warnings(record.run_dir):
        render.warn(words)
    if record.reason == "program":
        from launcher.cli.runs.failure_hints import hints_for  # what a failed program alone needs

        for words in hints_for(record):
            render.say(f"  hint     {render.printable(words)}")
    render.say(f"  again    launch rerun {record.run_id}")


def headline(record: RunRecord) -> str:
    """`✔ digits 7f3a9c finished in 12.4 s   val_accuracy 0.972  loss 0.091`"""
    mark, style = _MARK.get(record.status, ("·", "dim"))
    # A container to work in has no program to complete.
    reason = "idle" if record.run_dir.is_dev and record.reason == "completed" else record.reason
    words = _WORDS.get(reason or "", record.status.value.lower())
    code = f" with {exit_words(record.exit_code)}" if reason == "program" and record.exit_code is not None else ""
    preposition = "in" if reason == "completed" else "after"
    after = f" {preposition} {render.duration(record.duration_s)}" if record.duration_s is not None else ""
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:_METRICS_SHOWN])
    return f"{render.styled(mark, style)} {record.experiment} {record.run_id} {words}{code}{after}   {metrics}".rstrip()


def exit_words(code: int) -> str:
    """`exit code 3`, `exit code 139 (SIGSEGV)`: 128 and the signal are what a shell makes of it (bash(1), EXIT STATUS)."""
    with suppress(ValueError):
        return f"exit code {code} ({signal.Signals(code - 128).name})"
    return f"exit code {code}"


def _written(record: RunRecord) -> str:
    """`model.txt (41 KB), results/ (3 files, 1.2 MB) and 2 more`"""
    workspace = record.run_dir.outputs / WORKSPACE
    try:
        names = sorted(os.listdir(workspace))
    except OSError:
        return ""
    words = []
    for name in names[:_WRITTEN_SHOWN]:
        if os.path.isdir(workspace / name):
            files, total = _files_below(workspace / name)
            words.append(f"{render.printable(name)}/ ({counted(files, 'file')}, {render.size(total)})")
        else:
            words.append(f"{render.printable(name)} ({render.size(os.lstat(workspace / name).st_size)})")
    more = len(names) - _WRITTEN_SHOWN
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _files_below(top: Path) -> tuple[int, int]:
    """Number of files and their bytes."""
    files, total = 0, 0
    for directory, _names, found in os.walk(top):
        for name in found:
            files += 1
            total += os.lstat(os.path.join(directory, name)).st_size
    return files, total


def usage_words(usage: Mapping[str, Any]) -> str:
    """A record's *usage*, as `memory 141 MiB at most, 12.3 s of CPU, ...; waited 0.40 s for CPU`. What isn't known here is
    shown by its name."""
    used = [words(usage[name]) for name, words in _USED.items() if usage.get(name)]
    unknown = sorted(set(usage) - set(_USED) - set(_WAITED) - _LEFT_OUT)
    used += [f"{name} {usage[name]}" for name in unknown]
    waited = [f"{render.duration(usage[name])} for {what}" for name, what in _WAITED.items() if (usage.get(name) or 0) >= 0.01]
    return ", ".join(used) + (f"; waited {', '.join(waited)}" if waited else "")
