"""cgroup v2: where below our own cgroup a container's may be made (Documentation/admin-guide/cgroup-v2.rst).

Two rules stand in the way of `mkdir own/launch-…`. "No internal processes": a cgroup with processes, such as our own, cannot give
memory, cpu or pids to children (the root of the hierarchy can). And under systemd every cgroup that is not delegated belongs to
systemd, which undoes what others write there. So, in this order:

 1. our own cgroup is the root, or we have already stepped into the leaf of a cgroup that is ours: children go beside the leaf;
 2. we are directly in a unit of systemd's, and it doesn't limit us: systemd makes a scope with `Delegate=yes` for this process,
    which is then ours (`systemd_scope.py`). From a cgroup inside a unit, such as a job of Slurm's, that would be an escape;
 3. our own cgroup is delegated to us, or is all that a container shows: all its processes step into a leaf;
 4. our own cgroup sets no limits and its parent already gives the controllers on: the container's becomes its sibling;
 5. none of these: a child without controllers. It can still be killed as one, and limits are named as not enforced.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from runtime.cgroup.control_file import read_pids, read_value, write_value
from runtime.light_typing import NamedTuple

CONTROLLERS = ("memory", "cpu", "pids", "io")
"""`io` sets no limit and tells what was read and written. A user's own manager may delegate less."""

LEAF = "launch-leaf"
"""The child that processes of a cgroup step into so that the cgroup may have controllers for others."""


class Parent(NamedTuple):
    """A directory in which a container's cgroup can be made."""

    directory: Path
    controllers: frozenset[str]
    """What a child made there will have."""
    reason: str | None = None
    """Why it has no controllers."""


def _words(file: Path) -> frozenset[str]:
    return frozenset((read_value(file) or "").split())


def _controllers_of_children(directory: Path) -> frozenset[str]:
    return _words(directory / "cgroup.subtree_control") & frozenset(CONTROLLERS)


def _give_to_children(directory: Path) -> frozenset[str]:
    """Enable what *directory* has for its children, one by one: a refused one must not keep the others out."""
    for controller in (_words(directory / "cgroup.controllers") & frozenset(CONTROLLERS)) - _controllers_of_children(directory):
        try:
            write_value(directory / "cgroup.subtree_control", f"+{controller}")
        except OSError:
            # EBUSY: processes are in it. EACCES: not ours. ENOENT: not given to us. What was enabled is read back below.
            continue
    return _controllers_of_children(directory)


def _is_root(directory: Path) -> bool:
    """The root of the whole hierarchy has no type and none of the rules (a container's root does)."""
    return (directory / "cgroup.controllers").exists() and not (directory / "cgroup.type").exists()


def _is_delegated(directory: Path) -> bool:
    """systemd marks what it will leave alone (systemd.resource-control(5), `Delegate=`)."""
    for attribute in ("trusted.delegate", "user.delegate"):
        try:
            if os.getxattr(directory, attribute) == b"1":
                return True
        except OSError:
            # ENODATA: not marked. EPERM/ENOTSUP: may not ask, or an old kernel.
            continue
    return False


_LIMITS_OF_SOMEBODY = ("memory.max", "memory.high", "memory.swap.max", "cpu.max")

_LIMITS = (*_LIMITS_OF_SOMEBODY, "pids.max")
"""systemd itself gives every service and scope a `pids.max` (`DefaultTasksMax=`)."""


def _sets_limits(directory: Path, files: tuple[str, ...] = _LIMITS) -> bool:
    """Whether *directory* itself holds its processes to something that a sibling would escape."""
    return any((read_value(directory / file) or "max").split()[0] != "max" for file in files)


def step_into_leaf(directory: Path) -> frozenset[str]:
    """Move every process of *directory* into its leaf and give its controllers to children. Returns what was given."""
    leaf = directory / LEAF
    try:
        leaf.mkdir(exist_ok=True)
        for _ in range(5):  # processes fork meanwhile
            pids = read_pids(directory)
            for pid in pids:
                try:
                    write_value(leaf / "cgroup.procs", str(pid))
                except ProcessLookupError:
                    continue
            if not pids:
                break
    except OSError:
        return frozenset()
    return _give_to_children(directory)


def find_parent(own: Path, mount: Path, *, ask_systemd: Callable[[], Path | None]) -> Parent:
    """The first of the places above that works. *ask_systemd* moves us into a delegated scope and returns its directory."""
    if own.name == LEAF and (controllers := _give_to_children(own.parent)):
        return Parent(own.parent, controllers)
    if _is_root(own):
        return _as_parent(own, _give_to_children(own), "the kernel gives no controllers to the v2 hierarchy")
    available = _words(own / "cgroup.controllers") & frozenset(CONTROLLERS)
    if not available:
        return Parent(own, frozenset(), "no controllers are given to our own cgroup")
    leaves_nothing_behind = own.name.endswith((".scope", ".service")) and not _sets_limits(own, _LIMITS_OF_SOMEBODY)
    if leaves_nothing_behind and (scope := ask_systemd()) is not None and (controllers := step_into_leaf(scope)):
        return Parent(scope, controllers)
    may_fill = (_is_delegated(own) or own == mount) and os.access(own / "cgroup.procs", os.W_OK)
    if may_fill and (controllers := step_into_leaf(own)):
        return Parent(own, controllers)
    above = own.parent
    may_sit_beside = own != mount and not _sets_limits(own) and os.access(above / "cgroup.procs", os.W_OK)
    if may_sit_beside and (controllers := _controllers_of_children(above)):
        return Parent(above, controllers)
    return Parent(own, frozenset(), f"cgroup `{own}` is not delegated to this user")


def _as_parent(directory: Path, controllers: frozenset[str], otherwise: str) -> Parent:
    return Parent(directory, controllers, None if controllers else otherwise)
