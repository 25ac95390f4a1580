"""How a new process comes into its cgroup: it begins there, or enters by itself.

To move a running process from outside holds every fork and exit of the machine and waits for an RCU grace period: 5 to 10 ms,
more on a busy machine. A child that begins in the v2 hierarchy's part (CLONE_INTO_CGROUP) waits for nobody, and neither does a
process with one thread that writes itself into the `tasks` of v1 hierarchies (cgroup_procs_write_start in the kernel's cgroup.c).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup, move_into
from runtime.errors import ContainerError
from runtime.kernel import processes


@contextmanager
def open_entry(cgroup: Cgroup | None) -> Iterator[tuple[int | None, tuple[Path, ...]]]:
    """A descriptor of the v2 part, and the files of the rest for `enter`: what `fork_into_cgroup` takes."""
    if cgroup is None:
        yield None, ()
        return
    files = tuple(directory / "tasks" for directory in cgroup.directories if directory != cgroup.unified)
    if cgroup.unified is None:
        yield None, files
        return
    directory = os.open(cgroup.unified, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield directory, files
    finally:
        os.close(directory)


def fork_into_cgroup(directory: int | None, files: tuple[Path, ...], flags: int = 0) -> tuple[int, tuple[Path, ...]]:
    """`processes.fork_deaf` with *flags* of clone(2) into the v2 cgroup *directory*, and what the child has left to `enter`."""
    if directory is None:
        return processes.fork_deaf(flags), files
    try:
        return processes.fork_deaf(flags, cgroup=directory), files
    except OSError:
        # Before Linux 5.7, a threaded cgroup, a filter around us, or no right to: the child's own attempt says which.
        return processes.fork_deaf(flags), (*files, Path(os.readlink(f"/proc/self/fd/{directory}"), "cgroup.procs"))


def enter(files: Iterable[Path]) -> None:
    """Move this process, which has one thread, into the cgroups of these `tasks` and `cgroup.procs`."""
    for file in files:
        try:
            move_into(file, 0)
        except OSError as error:
            raise ContainerError(f"cannot enter cgroup `{file.parent}`: {(error.strerror or '').lower()}") from error
