"""`delete [--force] ID`."""

from __future__ import annotations

from runtime.errors import ContainerError, RuntimeFailure
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import record
from runtime.oci_runtime.main import Context
from runtime.oci_runtime.options import Option, Parsed, UsageError
from runtime.oci_runtime.removal import destroy

SYNOPSIS = "[--force] ID"
OPTIONS = (
    Option("force", "f", False, "kill it first when it still runs; no error when there is none"),
    Option("regex", "r", False, "ID is a regular expression"),
)


def run(given: Parsed, context: Context) -> int:
    if len(given.words) != 1:
        raise UsageError("the id of one container is needed")
    if given.flag("regex"):
        import re

        chosen = [one.container_id for one in record.read_all(context.root) if re.search(given.words[0], one.container_id)]
    else:
        chosen = given.words
    for container_id in chosen:
        _delete(container_id, context, forced=given.flag("force"))
    return 0


def _delete(container_id: str, context: Context, *, forced: bool) -> None:
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
    destroy(container, _config(container, context), context.diagnostics)


def _config(container: record.Record, context: Context) -> RuntimeConfig | None:
    try:
        return container.config()
    except (OSError, ValueError, RuntimeFailure) as error:
        context.diagnostics.warning(f"the configuration of `{container.container_id}` can't be read: {error}")
        return None
