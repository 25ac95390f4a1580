"""The first moment of a container's init: a fork of its creator, or of a small helper of a large one.

A fork has all memory of its maker. Of a small supervisor that is nothing; an init that is a fork of a program with gigabytes, or
with threads that hold locks, would take milliseconds to copy, be what the kernel kills first when the container's memory is used
up, and may never get hold of the lock. Such a creator starts a helper once (`spawn_helper.py`), which forks its inits as the
creator's children.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cgroup.entry import fork_into_cgroup, open_entry
from runtime.container.init_setup import InitParams, run_init
from runtime.kernel import namespaces, processes

if TYPE_CHECKING:
    from runtime.cgroup.cgroup import Cgroup

_SMALL = 64 << 20
"""Resident bytes: an idle supervisor has about 20 MiB, one that composes and builds about 50."""


def spawn_init(params: InitParams, cgroup: Cgroup | None) -> int:
    """The number of the container's init, our child. It is in its cgroup and its PID namespace, and, unless root makes it,
    in its user namespace. Raises Unsupported where no namespace can be made."""
    kinds = processes.NEWPID | (0 if params.mappings else processes.NEWUSER)
    try:
        if not _is_small():
            from runtime.container.spawn_helper import spawn_by_helper

            return spawn_by_helper(params, kinds, cgroup)
        processes.place_of_arguments()  # known before the fork, it is known to all that follow
        with open_entry(cgroup) as (directory, files):
            pid, cgroups = fork_into_cgroup(directory, files, kinds)
            if pid == 0:
                run_init(params, cgroups)
        return pid
    except OSError as error:
        if error.errno in namespaces.REFUSALS:
            raise namespaces.no_user_namespace(error) from error
        raise


def _is_small() -> bool:
    return len(os.listdir("/proc/self/task")) == 1 and _resident_bytes() < _SMALL


def _resident_bytes() -> int:
    """proc_pid_statm(5)."""
    fields = Path("/proc/self/statm").read_bytes().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
