"""`update [OPTIONS] ID`: other limits for a container that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runtime.errors import BadContent
from runtime.oci.resource_config import resources_from_json
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups.bundle_cgroup import apply
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError

# Option → its place in `linux.resources`, and whether it is a number.
_PLACES = {
    "blkio-weight": (("blockIO", "weight"), True),
    "cpu-period": (("cpu", "period"), True),
    "cpu-quota": (("cpu", "quota"), True),
    "cpu-burst": (("cpu", "burst"), True),
    "cpu-rt-period": (("cpu", "realtimePeriod"), True),
    "cpu-rt-runtime": (("cpu", "realtimeRuntime"), True),
    "cpu-share": (("cpu", "shares"), True),
    "cpu-shares": (("cpu", "shares"), True),
    "cpu-idle": (("cpu", "idle"), True),
    "cpuset-cpus": (("cpu", "cpus"), False),
    "cpuset-mems": (("cpu", "mems"), False),
    "kernel-memory": (("memory", "kernel"), True),
    "kernel-memory-tcp": (("memory", "kernelTCP"), True),
    "memory": (("memory", "limit"), True),
    "memory-reservation": (("memory", "reservation"), True),
    "memory-swap": (("memory", "swap"), True),
    "pids-limit": (("pids", "limit"), True),
}
_OPTIONS = (
    Option("resources", "r", True, "file with `linux.resources`; - is stdin"),
    *(Option(name, "", True, f"`{'.'.join(place)}`") for name, (place, _) in _PLACES.items()),
)


def _update(given: Parsed, context: Context) -> int:
    container = context.container(given.one_id(), not_in=(record.STOPPED, record.CREATING))
    apply(container.cgroup, resources_from_json(_document(given)))
    return 0


def _document(given: Parsed) -> dict[str, Any]:
    document: dict[str, Any] = {}
    file = given.value("resources")
    if file is not None:
        try:
            document = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
        except (OSError, ValueError) as error:
            raise BadContent(f"cannot read the resources in `{file}`: {error}") from error
    for name, ((group, key), is_number) in _PLACES.items():
        text = given.value(name)
        if text is None:
            continue
        if is_number and not text.lstrip("-").isdigit():
            raise UsageError(f"`--{name}` takes a number: `{text}`")
        document.setdefault(group, {})[key] = int(text) if is_number else text
    return document


COMMANDS = {"update": Command("[OPTIONS] ID", _OPTIONS, _update)}
