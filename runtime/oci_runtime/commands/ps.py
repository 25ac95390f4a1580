"""`ps [--format table|json] ID`."""

from __future__ import annotations

import json

from runtime.errors import ContainerError
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups import bundle_cgroup
from runtime.oci_runtime.main import Context
from runtime.oci_runtime.options import Option, Parsed, UsageError

SYNOPSIS = "[OPTIONS] ID"
OPTIONS = (Option("format", "f", True, "table or json"),)


def run(given: Parsed, context: Context) -> int:
    kind = given.value("format") or "table"
    if kind not in ("table", "json"):
        raise UsageError(f"unknown format `{kind}`", hint="table or json")
    if not given.words:
        raise UsageError("the id of one container is needed")
    container = record.read(context.root, given.words[0])
    if container.status() == record.STOPPED:
        raise ContainerError(f"container `{container.container_id}` is not running")
    pids = bundle_cgroup.pids(container.cgroups) or [container.pid]
    if kind == "json":
        print(json.dumps(pids))
        return 0
    print("PID      COMMAND")
    for pid in pids:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        print(f"{pid:<8} {words}")
    return 0
