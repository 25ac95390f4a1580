"""`resume ID`."""

from __future__ import annotations

from runtime.errors import ContainerError
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups import bundle_cgroup
from runtime.oci_runtime.main import Context, one_id
from runtime.oci_runtime.options import Option, Parsed

SYNOPSIS = "ID"
OPTIONS: tuple[Option, ...] = ()


def run(given: Parsed, context: Context) -> int:
    container = record.read(context.root, one_id(given))
    status = container.status()
    if status != record.PAUSED:
        raise ContainerError(f"container `{container.container_id}` is {status}, not {record.PAUSED}")
    bundle_cgroup.freeze(container.cgroups, frozen=False)
    return 0
