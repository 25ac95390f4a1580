"""Stop everything in a cgroup where it is, and let it go on: `cgroup.freeze` (v2, 5.2) or v1's freezer controller.

Frozen by v2 wherever there is that hierarchy, on hybrid machines even without controllers: what it froze can be killed, and what
v1's freezer holds can't. Whether it stands still is asked of both, since an engine may have used the other.
"""

from __future__ import annotations

import time
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.control_file import read_keyed, read_value, write_value
from runtime.errors import ContainerError, Unsupported

_FROZEN_WITHIN_S = 10.0


def can_freeze(cgroup: Cgroup) -> bool:
    return _v2(cgroup) is not None or _v1(cgroup) is not None


def is_frozen(cgroup: Cgroup) -> bool:
    """Whether it was asked to be; the last process may take a moment."""
    v1, v2 = _v1(cgroup), _v2(cgroup)
    by_v2 = v2 is not None and read_value(v2 / "cgroup.freeze") == "1"
    return by_v2 or (v1 is not None and read_value(v1 / "freezer.state") in ("FROZEN", "FREEZING"))


def freeze(cgroup: Cgroup) -> None:
    """Freeze every process, and return when all are. Raises Unsupported where there is no freezer, ContainerError when one
    process would not freeze; then all go on."""
    if (v2 := _v2(cgroup)) is not None:
        write_value(v2 / "cgroup.freeze", "1")
    elif (v1 := _v1(cgroup)) is not None:
        write_value(v1 / "freezer.state", "FROZEN")
    else:
        raise Unsupported(
            "nothing can be paused here: there is no cgroup with a freezer",
            hint="it takes root, or cgroup version 2 with a subtree that is yours (`launch doctor` says how); `launch stop` and "
            "checkpoints do without",
        )
    deadline = time.monotonic() + _FROZEN_WITHIN_S
    while not _is_settled(cgroup):
        if time.monotonic() > deadline:
            thaw(cgroup)
            raise ContainerError(
                f"a process of cgroup `{cgroup.name}` is not frozen after {_FROZEN_WITHIN_S:.0f} s",
                hint="it sleeps in the kernel (a dead network file system, a GPU driver); everything goes on",
            )
        time.sleep(0.005)


def thaw(cgroup: Cgroup) -> None:
    """Let it go on. Does nothing where there is no freezer, or no cgroup any more."""
    if (v2 := _v2(cgroup)) is not None:
        write_value(v2 / "cgroup.freeze", "0")
    if (v1 := _v1(cgroup)) is not None:
        write_value(v1 / "freezer.state", "THAWED")


def _is_settled(cgroup: Cgroup) -> bool:
    if (v2 := _v2(cgroup)) is not None:
        return read_keyed(v2 / "cgroup.events", "frozen") != 0
    v1 = _v1(cgroup)
    return v1 is None or read_value(v1 / "freezer.state") == "FROZEN"


def _v2(cgroup: Cgroup) -> Path | None:
    found = cgroup.unified
    return found if found is not None and (found / "cgroup.freeze").exists() else None


def _v1(cgroup: Cgroup) -> Path | None:
    found = cgroup.controllers.get("freezer")
    return found if found is not None and (found / "freezer.state").exists() else None
