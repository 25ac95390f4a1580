"""`events [--stats] [--interval 5s] ID`: what a container uses, a JSON object a line, until it has ended."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from runtime.cgroup.oom import oom_kills
from runtime.kernel import processes
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups.statistics import statistics
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError
from runtime.oci_runtime.record import Record

_OPTIONS = (
    Option("stats", "", False, "one look"),
    Option("interval", "", True, "between two looks, as `5s`, `500ms` or `1m` (5s)"),
)

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")


def _events(given: Parsed, context: Context) -> int:
    interval_s = _seconds(given.value("interval") or "5s")
    container = context.container(given.one_id(), not_in=(record.STOPPED,))
    if given.flag("stats"):
        _say(container, "stats", statistics(container.cgroup))
        return 0
    _follow(container, interval_s)
    return 0


def _follow(container: Record, interval_s: float) -> None:
    try:
        pidfd = os.pidfd_open(container.pid)
    except ProcessLookupError:
        return
    memory = container.cgroup.controllers.get("memory", container.cgroup.unified)
    killed = oom_kills(memory)
    while not processes.wait_ended(pidfd, timeout_s=interval_s):
        now = oom_kills(memory)
        if now > killed:
            _say(container, "oom", None)
        killed = now
        _say(container, "stats", statistics(container.cgroup))
    os.close(pidfd)


def _say(container: Record, kind: str, data: dict[str, Any] | None) -> None:
    event: dict[str, Any] = {"type": kind, "id": container.container_id}
    print(json.dumps(event if data is None else {**event, "data": data}), flush=True)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"`--interval` takes a time above zero, as `5s`: `{text}`")
    return float(found[1]) * _UNITS_S[found[2]]


COMMANDS = {"events": Command("[OPTIONS] ID", _OPTIONS, _events)}
