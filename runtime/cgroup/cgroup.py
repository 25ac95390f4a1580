"""The cgroup of one container, on v1, v2 and hybrid machines: make, fill, measure, kill, remove.

Where it may be made and what the limits look like is in `v1.py` and `v2.py`. A limit that cannot be enforced here never stops a
run: `Cgroup.warnings` names it.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.cgroup import usage, v1, v2
from runtime.cgroup.control_file import apply_settings, make_empty, read_pids, read_value, write_value
from runtime.cgroup.hierarchies import Hierarchies, own_hierarchies
from runtime.cgroup.limits import Limits, Usage
from runtime.cgroup.oom import OomKills, explained_oom_kills
from runtime.errors import ContainerError

_EMPTY_WITHIN_S = 5.0
"""How long killed processes may take to be gone; a process in uninterruptible sleep (NFS, a GPU driver) takes longer."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The directories of one container's cgroup; none at all where this user may make none."""

    name: str
    controllers: dict[str, Path] = field(default_factory=dict)
    """Controller (`memory`, `cpu`, `cpuacct`, `pids`) → directory that has it."""
    unified: Path | None = None
    """Directory in the v2 hierarchy, with or without controllers."""
    warnings: tuple[str, ...] = ()
    """Limits that were asked for and are not enforced, one sentence each."""

    @property
    def directories(self) -> tuple[Path, ...]:
        """Each directory once."""
        found = dict.fromkeys(self.controllers.values())
        if self.unified is not None:
            found[self.unified] = None
        return tuple(found)

    def add(self, pid: int) -> None:
        """Move process *pid* (all its threads) in; what it forks from now on is in as well."""
        for directory in self.directories:
            try:
                write_value(directory / "cgroup.procs", str(pid))
            except ProcessLookupError as error:
                raise ContainerError(f"process {pid} ended before it was in cgroup `{directory}`") from error

    @contextmanager
    def cpu_unlimited(self) -> Iterator[None]:
        """Lift the limit of CPUs for the body. To make a container takes 20 ms of a core: with a tenth of one that were two
        periods in which it stands still."""
        directory = self.controllers.get("cpu")
        name, none = v2.NO_CPU_LIMIT if directory == self.unified else v1.NO_CPU_LIMIT
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
        return usage.usage(self.controllers, self.unified)

    def oom_kills(self) -> OomKills | None:
        """Whom the kernel killed for want of memory, cgroups below included; None: nobody. Read it before `remove`."""
        return explained_oom_kills(self.controllers.get("memory"))

    def kill(self) -> None:
        """SIGKILL everything inside. Atomic with `cgroup.kill` (5.14); else repeated until nobody is left to fork."""
        if self.unified is not None:
            with suppress(FileNotFoundError):  # an older kernel, or the cgroup is gone: the loop below settles both
                write_value(self.unified / "cgroup.kill", "1")
        if v1.FREEZER in self.controllers:
            with suppress(FileNotFoundError):  # what is frozen by v1 does not even die
                write_value(self.controllers[v1.FREEZER] / "freezer.state", "THAWED")
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.005)

    def remove(self) -> None:
        """Remove the directories. Idempotent. Raises ContainerError with the pids when processes are still inside."""
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        for directory in self.directories:
            while not _removed(directory):
                if time.monotonic() > deadline:
                    left = self.pids()
                    raise ContainerError(
                        f"cannot remove cgroup `{directory}`: {len(left)} processes are still in it (pids {left[:10]})",
                        hint="a process that sleeps in the kernel (a dead network file system, a GPU driver) cannot be killed",
                    )
                time.sleep(0.005)


@contextmanager
def new_cgroup(name: str, limits: Limits) -> Iterator[Cgroup]:
    """A cgroup *name* below our own, with *limits*; what is left inside at the end is killed, and it is removed."""
    cgroup = make_cgroup(name, limits)
    try:
        yield cgroup
    except BaseException as error:
        try:
            cgroup.kill()
            cgroup.remove()
        except Exception as undo_error:
            error.add_note(f"while removing cgroup `{name}`: {undo_error}")
        raise
    else:
        cgroup.kill()
        cgroup.remove()


def make_cgroup(name: str, limits: Limits) -> Cgroup:
    """`new_cgroup` without the undo, for who removes it by name later. Nothing is left behind when it fails."""
    own = own_hierarchies()
    wanted = v1.CONTROLLERS if own.unified is not None else (*v1.CONTROLLERS, v1.FREEZER)
    controllers, refused = v1.make_directories(own.legacy, name, wanted)
    reasons: dict[str, str] = {controller: _why(error) for controller, error in refused.items()}
    failed = apply_settings(v1.settings(limits), controllers) if own.legacy else {}
    unified: Path | None = None
    if own.unified is not None and own.unified_mount is not None:
        unified, given, reason = _make_unified(own, name)
        over_v2 = dict.fromkeys(given, unified) if unified is not None else {}
        if over_v2:
            controllers = {**over_v2, **controllers}
            failed = {key: why for key, why in failed.items() if key not in over_v2}
            failed |= apply_settings([s for s in v2.settings(limits) if s.controller in over_v2], over_v2)
        if unified is not None:
            reason = reason or f"cgroup `{unified.parent}` is not given this controller"
        if reason is not None:
            reasons = dict.fromkeys(v2.CONTROLLERS, reason) | reasons
        if not own.legacy:
            missing = [s for s in v2.settings(limits) if s.controller not in over_v2]
            failed |= dict.fromkeys((s.controller for s in missing), None)
    return Cgroup(name, controllers, unified, _warnings(limits, failed, reasons))


def _make_unified(own: Hierarchies, name: str) -> tuple[Path | None, frozenset[str], str | None]:
    """Directory in the v2 hierarchy, the controllers it has, and why it has none."""
    assert own.unified is not None
    assert own.unified_mount is not None
    parent = v2.find_parent(own.unified, own.unified_mount, ask_systemd=_ask_systemd)
    directory = parent.directory / name
    try:
        make_empty(directory)
    except OSError as error:
        return None, frozenset(), _why(error)
    return directory, parent.controllers, parent.reason


def _ask_systemd() -> Path | None:
    from runtime.cgroup.systemd_scope import move_into_delegated_scope  # brings socket, for v2 machines only

    return move_into_delegated_scope()


def _why(error: OSError) -> str:
    return f"`{error.filename}`: {os.strerror(error.errno or 0).lower()}"


def _warnings(limits: Limits, failed: dict[str, OSError | None], reasons: dict[str, str]) -> tuple[str, ...]:
    """One sentence a limit. The default process limit is a safety net that nobody asked for: its absence is not news."""
    asked = {
        "memory": None if limits.memory_bytes is None else f"the memory limit of {limits.memory_bytes / 2**20:.0f} MiB",
        "cpu": None if limits.cpus is None else f"the limit of {limits.cpus:g} CPUs",
        "pids": None if limits.pids in (None, Limits().pids) else f"the limit of {limits.pids} processes",
    }
    sentences = []
    for controller, error in failed.items():
        if (what := asked.get(controller)) is not None:
            why = _why(error) if error is not None else reasons.get(controller, f"this machine has no `{controller}` controller")
            sentences.append(f"{what} is not enforced: {why}")
    return tuple(sentences)


def open_cgroup(name: str) -> Cgroup:
    """The cgroup *name* that some process of ours made, wherever it is; without directories when there is none.

    Looks below our own cgroups first. A run that is recovered was made from another session, so then everywhere.
    """
    own = own_hierarchies()
    controllers: dict[str, Path] = {}
    for controller in (*v1.CONTROLLERS, v1.FREEZER):
        if controller in own.legacy and (found := _find(name, own.legacy[controller], own.legacy_mounts[controller])):
            controllers[controller] = found
    unified = None
    if own.unified is not None and own.unified_mount is not None:
        unified = _find(name, own.unified, own.unified_mount)
        if unified is not None:
            given = (unified / "cgroup.controllers").read_text().split()
            controllers = {key: unified for key in v2.CONTROLLERS if key in given} | controllers
    return Cgroup(name, controllers, unified)


def _find(name: str, own: Path, mount: Path) -> Path | None:
    for near in (own / name, own.parent / name):
        if near.is_dir():
            return near
    for parent, children, _ in os.walk(mount):
        if name in children:
            return Path(parent, name)
    return None


def _with_descendants(directory: Path) -> list[Path]:
    """*directory* and every cgroup below it, deepest first."""
    return [Path(parent) for parent, _, _ in os.walk(directory, topdown=False)]


def _removed(directory: Path) -> bool:
    """Remove *directory* and the cgroups below it. False: processes are left in it, dying or alive."""
    for below in _with_descendants(directory):
        try:
            below.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True
