"""What a test could leave behind on this machine: mounts, links, cgroups, processes. Looked at before and after.

Others use the machine meanwhile: another test session, a build, a run of the user's. What is theirs is not looked at: root's
session has a mount namespace of its own; a cgroup with processes of others is others', and so is a link with another name.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.cgroup.hierarchies import own_hierarchies
from runtime.kernel import libc, mounts
from runtime.kernel.processes import NEWNS

OUTLIVES_A_TEST = ("mlflow", "launch-spawn")
"""Words in the command line of a process that may stay for the tests that follow (a server per session, the helper that starts
this process's containers)."""

MARK = f"LC_LAUNCH_TESTS={os.getpid()}-{random.SystemRandom().randrange(2**32):x}"
"""In the environment of everything that a test starts: how orphans are found. Named like one of libc's, since supervisors and
senders are executed with those and few others (`bare_environment`); and no warm helper serves two sessions.
"""

LINKS = ("launch", "lc-", "ln-", f"ot{os.getpid()}", "uplink")
"""How links begin that containers or tests of this process make."""

_OUTSIDE = os.readlink("/proc/self/ns/mnt")


def leave_the_mounts_of_others() -> None:
    """Nothing that others mount from now on is seen here, nor the reverse. Only root can; nobody else makes mounts."""
    if os.geteuid() == 0:
        libc.unshare(NEWNS)
        mounts.make_private()


def traces() -> set[str]:
    """One line for each thing that is there now; what is there afterwards and was not before is a leak."""
    ours = dict(own_processes())
    left = (f"process {pid} {command}" for pid, command in ours.items() if not any(word in command for word in OUTLIVES_A_TEST))
    return {*_mounts(), *_links(), *_cgroups(ours), *left}


def left_behind(before: set[str], *, within_s: float, look: Callable[[], set[str]] = traces) -> set[str]:
    """What is there, was not there before, and does not go within *within_s*.

    The kernel ends network namespaces and killed processes a moment later. And one look is not enough to find nothing: a process
    that forks and ends while /proc is read is in neither place. What comes and goes meanwhile is not left behind.
    """
    deadline = time.monotonic() + within_s
    left = (look() | look()) - before
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left &= look()
    return left


def _mounts() -> Iterator[str]:
    """Root's own; nobody else can mount anything outside of a container."""
    if os.geteuid() == 0:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            yield f"mount {line.split(' ')[4]}"


def _links() -> Iterator[str]:
    """Root's own, as mounts are: an ordinary user makes links only in network namespaces that end with his containers."""
    if os.geteuid() != 0:
        return
    for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]:
        name = line.partition(":")[0].strip()
        if name.startswith(LINKS):
            yield f"link {name}"


def _cgroups(ours: dict[int, str]) -> Iterator[str]:
    """cgroups called `launch-…` below our own that we may have made: in which nobody is, or one of *ours*."""
    own = own_hierarchies()
    for directory in {*own.legacy.values(), own.unified} - {None}:
        for cgroup in _below(str(directory)):
            if os.path.basename(cgroup).startswith("launch-") and not _is_of_others(cgroup, ours):
                yield f"cgroup {cgroup}"


def _below(cgroup: str) -> Iterator[str]:
    """Each cgroup in it, however deep, without the nodes of a Slurm that a session beside this one has brought up: what runs
    there is theirs."""
    try:
        children = [entry.path for entry in os.scandir(cgroup) if entry.is_dir() and not entry.name.startswith("slurm-")]
    except OSError:
        return  # removed meanwhile
    for child in children:
        yield child
        yield from _below(child)


def _is_of_others(cgroup: str, ours: dict[int, str]) -> bool:
    try:
        if os.stat(cgroup).st_uid != os.geteuid():
            return True
    except FileNotFoundError:
        return True
    inside = [int(pid) for each in (cgroup, *_below(cgroup)) for pid in _content(f"{each}/cgroup.procs").split()]
    return bool(inside) and not any(ancestor in ours for pid in inside for ancestor in _line_of_descent(pid))


def _line_of_descent(pid: int) -> Iterator[int]:
    """*pid*, its parent, and so on; one that has ended has nobody above it."""
    while pid > 1:
        yield pid
        pid = int((_content(f"/proc/{pid}/stat").rpartition(")")[2].split() or ["", "0"])[1])


def own_processes() -> Iterator[tuple[int, str]]:
    """pid and command line of what runs and was started by us: our children, and whoever has our mark in its environment."""
    own_command = _command("/proc/self")
    children = {
        int(pid) for task in os.listdir("/proc/self/task") for pid in _content(f"/proc/self/task/{task}/children").split()
    }
    for name in os.listdir("/proc"):
        directory = f"/proc/{name}"
        if not name.isdecimal() or int(name) == os.getpid() or not (command := _command(directory)):
            continue  # an empty command line: a kernel thread, or a process that has ended
        marked = MARK in _content(f"{directory}/environ").split("\0")
        if int(name) in children or marked or (command == own_command and _is_orphan_of_ours(directory)):
            yield int(name), command


def _is_orphan_of_ours(directory: str) -> bool:
    """A fork of ours that became an orphan has our command line, and no mark: its environment is that of our own start."""
    try:
        if os.stat(directory).st_uid != os.geteuid() or _content(f"{directory}/stat").rpartition(")")[2].split()[1:2] != ["1"]:
            return False
        # Another session may have been called in the same words.
        return os.geteuid() != 0 or os.readlink(f"{directory}/ns/mnt") != _OUTSIDE
    except OSError:
        return False


def _command(directory: str) -> str:
    return _content(f"{directory}/cmdline").replace("\0", " ").strip()


def _content(file: str) -> str:
    """Empty for a process that is gone, or not ours to look at."""
    try:
        with open(file, "rb", buffering=0) as opened:
            return opened.readall().decode(errors="replace")
    except OSError:
        return ""
