"""Commands that act on a container: `start`, `kill`, `pause`, `resume`, `delete`."""

from __future__ import annotations

import signal

from runtime.cgroup.freezer import freeze, thaw
from runtime.errors import ContainerError, RuntimeFailure
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import lifecycle, record
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed, UsageError
from runtime.oci_runtime.record import Record

_REGEX = Option("regex", "r", False, "ID is a regular expression")


def _start(given: Parsed, context: Context) -> int:
    container = context.container(given.one_id())
    lifecycle.start(container, container.config(), context.diagnostics)
    return 0


def _kill(given: Parsed, context: Context) -> int:
    if not 1 <= len(given.words) <= 2:
        raise UsageError("the id of one container is needed, and perhaps a signal")
    number = signal_number(given.words[1] if len(given.words) == 2 else "TERM")
    for container_id in _chosen(given, context):
        container = context.container(container_id)
        if given.flag("all"):
            container.cgroup.signal(number)
        elif container.status() in (record.STOPPED, record.CREATING):
            raise ContainerError(f"container `{container.container_id}` is not running")
        else:
            container.signal(number)
    return 0


def _chosen(given: Parsed, context: Context) -> list[str]:
    if not given.flag("regex"):
        return given.words[:1]
    import re

    return [one.container_id for one in record.read_all(context.root) if re.search(given.words[0], one.container_id)]


def signal_number(text: str) -> int:
    """The number that *text* means: `9`, `KILL`, `SIGKILL`, `SIGRTMIN+3`. Raises UsageError."""
    if text.isdigit():
        if 0 < int(text) < signal.NSIG:
            return int(text)
        raise UsageError(f"not a signal: `{text}`")
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    found = getattr(signal, f"SIG{name}", None)
    if not isinstance(found, int) or name.startswith("_") or (plus and not offset.isdigit()):
        raise UsageError(f"not a signal: `{text}`")
    return int(found) + int(offset or 0)


def _pause(given: Parsed, context: Context) -> int:
    freeze(_with_status(given, context, record.RUNNING, record.CREATED).cgroup)
    return 0


def _resume(given: Parsed, context: Context) -> int:
    thaw(_with_status(given, context, record.PAUSED).cgroup)
    return 0


def _with_status(given: Parsed, context: Context, *wanted: str) -> Record:
    container = context.container(given.one_id())
    status = container.status()
    if status not in wanted:
        raise ContainerError(f"container `{container.container_id}` is {status}, not {wanted[0]}")
    return container


def _delete(given: Parsed, context: Context) -> int:
    if len(given.words) != 1:
        raise UsageError("the id of one container is needed")
    for container_id in _chosen(given, context):
        _delete_one(container_id, context, forced=given.flag("force"))
    return 0


def _delete_one(container_id: str, context: Context, *, forced: bool) -> None:
    try:
        container = record.read(context.root, container_id)
    except ContainerError:
        if forced:
            return
        raise
    status = container.status()
    # Differs from the runtime-spec as runc and crun do: what was only created is killed.
    if status not in (record.STOPPED, record.CREATED) and not forced:
        raise ContainerError(f"container `{container_id}` is {status}, not stopped", hint="`--force` kills it")
    lifecycle.destroy(container, _config(container, context), context.diagnostics)


def _config(container: Record, context: Context) -> RuntimeConfig | None:
    try:
        return container.config()
    except (OSError, ValueError, RuntimeFailure) as error:
        context.diagnostics.warning(f"the configuration of `{container.container_id}` can't be read: {error}")
        return None


COMMANDS = {
    "start": Command("ID", (), _start),
    "kill": Command("[--all] ID [SIGNAL]", (Option("all", "a", False, "every process in the container's cgroup"), _REGEX), _kill),
    "pause": Command("ID", (), _pause),
    "resume": Command("ID", (), _resume),
    "delete": Command(
        "[--force] ID",
        (Option("force", "f", False, "kill it first when it still runs; no error when there is none"), _REGEX),
        _delete,
    ),
}
