"""What a test could leave behind on this machine: mounts, links, cgroups, processes. Looked at before and after."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from runtime.cgroup.hierarchies import own_hierarchies

OUTLIVES_A_TEST = ("mlflow", "launch-spawn")
"""Words in the command line of a process that may stay for the tests that follow (a server per session, the helper that begins
this process's containers)."""

MARK = f"LAUNCH_TESTS_SESSION={os.getpid()}-{random.SystemRandom().randrange(2**32):x}"
"""In the environment of everything that a test starts: how orphans are found."""


def traces() -> set[str]:
    """One line for each thing that is there now; what is there afterwards and was not before is a leak."""
    return {*_mounts(), *_links(), *_cgroups(), *_processes()}


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield f"mount {line.split(' ')[4]}"


def _links() -> Iterator[str]:
    for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]:
        yield f"link {line.partition(':')[0].strip()}"


def _cgroups() -> Iterator[str]:
    """cgroups called `launch-…` below our own. Where our own is the top, others' would be seen too: only CI looks there."""
    own = own_hierarchies()
    tops = {*own.legacy_mounts.values(), own.unified_mount}
    for directory in {*own.legacy.values(), own.unified}:
        if directory is None or (directory in tops and os.environ.get("CI") != "true"):
            continue
        for parent, children, _ in os.walk(directory):
            yield from (f"cgroup {parent}/{child}" for child in children if child.startswith("launch-"))


def _processes() -> Iterator[str]:
    """What runs and was started by us: our children, and whoever has our mark in its environment."""
    own_command = _command(Path("/proc/self"))
    ours = {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        command = _command(directory)
        if not command or pid == os.getpid() or any(word in command for word in OUTLIVES_A_TEST):
            continue  # an empty command line: a kernel thread, or a process that has ended
        # A fork of ours that became an orphan has our command line, and no mark: its environment is that of our own start.
        orphaned_fork = command == own_command and _content(directory / "stat").rpartition(")")[2].split()[1:2] == ["1"]
        if pid in ours or orphaned_fork or MARK in _content(directory / "environ").split("\0"):
            yield f"process {pid} {command}"


def _command(directory: Path) -> str:
    return _content(directory / "cmdline").replace("\0", " ").strip()


def _content(file: Path) -> str:
    """Empty for a process that is gone, or not ours to look at."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
