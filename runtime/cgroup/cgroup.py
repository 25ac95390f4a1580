"""The cgroup of one container, on v1, v2 and hybrid machines: fill, signal, measure, kill, remove.

Launches make theirs by `own_cgroups.py`, bundles say where theirs is (`runtime.oci_runtime.cgroups`); both are this value.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.cgroup.control_file import read_pids, read_value, write_value
from runtime.errors import ContainerError
from runtime.kernel.process_identity import start_time
from runtime.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runtime.cgroup.limits import Usage
    from runtime.cgroup.oom import OomKills

_EMPTY_WITHIN_S = 5.0
"""How long killed processes may take to be gone; a process in uninterruptible sleep (NFS, a GPU driver) takes longer."""

_NO_CPU_LIMIT = {"v1": ("cpu.cfs_quota_us", "-1"), "v2": ("cpu.max", "max")}
"""A file of `cpu`, and what it says where there is no limit."""


class Cgroup(NamedTuple):
    """The directories of one container's cgroup; none at all where this user may make none."""

    name: str
    controllers: Mapping[str, Path] = {}
    """Controller (`memory`, `cpu`, `cpuacct`, `pids`) → directory that has it."""
    unified: Path | None = None
    """Directory in the v2 hierarchy, with or without controllers."""
    warnings: tuple[str, ...] = ()
    """Limits that were asked for and are not enforced, one sentence each."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """Each directory once."""
        every = dict.fromkeys(self.controllers.values())
        if self.unified is not None:
            every[self.unified] = None
        return tuple(every)

    def add(self, pid: int) -> None:
        """Move process *pid* (all its threads) in; what it forks from now on is in as well."""
        for directory in self.directories:
            try:
                move_into(directory / "cgroup.procs", pid)
            except ProcessLookupError as error:
                raise ContainerError(f"process {pid} ended before it was in cgroup `{directory}`") from error

    @contextmanager
    def cpu_unlimited(self) -> Iterator[None]:
        """Lift the limit of CPUs for the body. To make a container takes 20 ms of a core: with a tenth of one that were two
        periods in which it stands still."""
        directory = self.controllers.get("cpu")
        name, none = _NO_CPU_LIMIT["v2" if directory == self.unified else "v1"]
        limit = read_value(directory / name) if directory is not None else None
        if directory is None or limit is None or limit.startswith(none):
            yield
            return
        write_value(directory / name, none)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):  # the container was killed meanwhile, and its cgroup removed
                write_value(directory / name, limit)

    def pids(self) -> list[int]:
        """The processes inside, children's cgroups included, ascending. Zombies count until they are reaped on v1."""
        found: set[int] = set()
        for directory in self.directories:
            for below in _with_descendants(directory):
                found.update(read_pids(below))
        return sorted(found)

    def usage(self) -> Usage:
        """What was used so far. Read it before `remove`."""
        from runtime.cgroup import usage  # not for the commands of the OCI runtime, which count each import

        return usage.usage(self.controllers, self.unified)

    def oom_kills(self) -> OomKills | None:
        """Whom the kernel killed for want of memory, cgroups below included; None: nobody. Read it before `remove`."""
        from runtime.cgroup.oom import explain_oom_kills

        return explain_oom_kills(self.controllers.get("memory"))

    def signal(self, number: int) -> None:
        """Send a signal to every process inside."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL everything inside. Atomic with `cgroup.kill` (5.14); else repeated until nobody is left to fork."""
        if self.unified is not None:
            with suppress(FileNotFoundError):  # an older kernel, or the cgroup is gone: the loop below settles both
                write_value(self.unified / "cgroup.kill", "1")
        if "freezer" in self.controllers:
            with suppress(FileNotFoundError):  # what is frozen by v1 does not even die
                write_value(self.controllers["freezer"] / "freezer.state", "THAWED")
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        # v1 lists zombies, which wait for their parent and not for us.
        while any(start_time(pid) != -1 for pid in self.pids()) and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            time.sleep(0.005)

    def remove(self) -> None:
        """Remove the directories. Idempotent. Raises ContainerError with the pids when processes are still inside."""
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        for directory in self.directories:
            while not _remove_tree(directory):
                if time.monotonic() > deadline:
                    left = self.pids()
                    raise ContainerError(
                        f"cannot remove cgroup `{directory}`: {len(left)} processes are still in it (pids {left[:10]})",
                        hint="a process that sleeps in the kernel (a dead network file system, a GPU driver) cannot be killed",
                    )
                time.sleep(0.005)


def move_into(file: Path, pid: int) -> None:
    """Write *pid* to a cgroup's `cgroup.procs` or `tasks`; 0 is the calling process. A threaded cgroup takes threads only."""
    try:
        write_value(file, str(pid))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        write_value(file.with_name("cgroup.threads"), str(pid))


def _with_descendants(directory: Path) -> list[Path]:
    """*directory* and every cgroup below it, deepest first."""
    return [Path(parent) for parent, _, _ in os.walk(directory, topdown=False)]


def _remove_tree(directory: Path) -> bool:
    """Remove *directory* and the cgroups below it, which hardly any has. False: processes are left in it, dying or alive."""
    return _remove_empty(directory) or all(_remove_empty(below) for below in _with_descendants(directory))


def _remove_empty(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
