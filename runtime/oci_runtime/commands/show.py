"""Commands that show containers: `state`, `list`, `ps`."""

from __future__ import annotations

import json

from runtime.oci_runtime import record
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError

_FORMAT = Option("format", "f", True, "table or json")


def _state(given: Parsed, context: Context) -> int:
    container = context.container(given.one_id())
    state = {**container.state(), "created": container.created_at, "owner": container.owner}
    print(json.dumps(state, indent=2))
    return 0


def _list(given: Parsed, context: Context) -> int:
    kind = _format(given)
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


def _format(given: Parsed) -> str:
    kind = given.value("format") or "table"
    if kind not in ("table", "json"):
        raise UsageError(f"unknown format `{kind}`", hint="table or json")
    return kind


def _ps(given: Parsed, context: Context) -> int:
    kind = _format(given)
    if not given.words:
        raise UsageError("the id of one container is needed")
    container = context.container(given.words[0], not_in=(record.STOPPED,))
    pids = container.cgroup.pids() or [container.pid]
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


COMMANDS = {
    "state": Command("ID", (), _state),
    "list": Command("[OPTIONS]", (Option("quiet", "q", False, "names only"), _FORMAT), _list),
    "ps": Command("[OPTIONS] ID", (_FORMAT,), _ps),
}
