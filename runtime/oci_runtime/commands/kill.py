"""`kill [--all] ID [SIGNAL]`."""

from __future__ import annotations

import signal

from runtime.errors import ContainerError
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups import bundle_cgroup
from runtime.oci_runtime.main import Context
from runtime.oci_runtime.options import Option, Parsed, UsageError

SYNOPSIS = "[--all] ID [SIGNAL]"
OPTIONS = (
    Option("all", "a", False, "every process in the container's cgroup"),
    Option("regex", "r", False, "ID is a regular expression"),
)


def run(given: Parsed, context: Context) -> int:
    if not 1 <= len(given.words) <= 2:
        raise UsageError("the id of one container is needed, and perhaps a signal")
    number = signal_number(given.words[1] if len(given.words) == 2 else "TERM")
    if given.flag("regex"):
        import re

        chosen = [one for one in record.read_all(context.root) if re.search(given.words[0], one.container_id)]
    else:
        chosen = [record.read(context.root, given.words[0])]
    for container in chosen:
        if given.flag("all"):
            bundle_cgroup.kill(container.cgroups, number)
        elif container.status() in (record.STOPPED, record.CREATING):
            raise ContainerError(f"container `{container.container_id}` is not running")
        else:
            container.signal(number)
    return 0


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
