"""For how long processes of a cgroup waited for CPU, memory or disks (pressure stall, Documentation/accounting/psi.rst).

The files belong to the v2 hierarchy and need no controller, so a hybrid machine has them, too; a kernel without CONFIG_PSI, or
with `psi=0`, has none.
"""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.control_file import read_value

RESOURCES = ("cpu", "memory", "io")


def waited_s(unified: Path | None) -> dict[str, float]:
    """Resource → seconds in which at least one process wanted to go on and could not; only those that the kernel tells."""
    if unified is None:
        return {}
    found = {resource: _some_total_s(read_value(unified / f"{resource}.pressure") or "") for resource in RESOURCES}
    return {resource: waited for resource, waited in found.items() if waited is not None}


def _some_total_s(content: str) -> float | None:
    """`some avg10=0.00 avg60=0.00 avg300=0.00 total=1048598`, the total in microseconds since the cgroup was made."""
    for line in content.splitlines():
        kind, *fields = line.split()
        total = next((field.removeprefix("total=") for field in fields if field.startswith("total=")), "")
        if kind == "some" and total.isdigit():
            return int(total) / 1e6
    return None
