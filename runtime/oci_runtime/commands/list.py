"""`list [--quiet] [--format table|json]`."""

from __future__ import annotations

import json

from runtime.oci_runtime import record
from runtime.oci_runtime.main import Context
from runtime.oci_runtime.options import Option, Parsed, UsageError

SYNOPSIS = "[OPTIONS]"
OPTIONS = (
    Option("quiet", "q", False, "names only"),
    Option("format", "f", True, "table or json"),
)


def run(given: Parsed, context: Context) -> int:
    kind = given.value("format") or "table"
    if kind not in ("table", "json"):
        raise UsageError(f"unknown format `{kind}`", hint="table or json")
    containers = record.read_all(context.root)
    if given.flag("quiet"):
        for container in containers:
            print(container.container_id)
    elif kind == "json":
        documents = [{**one.state(), "created": one.created_at, "owner": one.owner} for one in containers]
        print(json.dumps(documents, indent=2))
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [
            (one.container_id, str(state["pid"]), str(state["status"]), one.bundle, one.created_at, one.owner)
            for one in containers
            for state in (one.state(),)
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
