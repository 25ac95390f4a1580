"""`start ID`."""

from __future__ import annotations

from runtime.oci_runtime import record, starting
from runtime.oci_runtime.main import Context, one_id
from runtime.oci_runtime.options import Option, Parsed

SYNOPSIS = "ID"
OPTIONS: tuple[Option, ...] = ()


def run(given: Parsed, context: Context) -> int:
    container = record.read(context.root, one_id(given))
    starting.start(container, container.config(), context.diagnostics)
    return 0
