"""LAUNCH_HOME here: stacked layers on its file system (overlayfs as a container has it, the mount API, id-mapped mounts), and
who else may enter it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from runtime.host.finding import Finding, Remedy, good, off, try_out
from runtime.host.machine import Machine
from runtime.kernel import id_maps, libc, mounts, namespaces, processes
from runtime.rootfs.overlay import STRATEGIES, OverlayStrategy
from runtime.rootfs.overlay_trial import stack_on
from runtime.state_dir import StateDir, state_dir


def overlay(machine: Machine) -> Finding:
    def work(place: Path) -> str:
        strategy = stack_on(place)
        return f"{strategy.value}, on {mounts.file_system_name(place)} below `{place.parent}`"

    return _with_place(work, lambda: without_overlay(machine))


def without_overlay(machine: Machine) -> Remedy:
    """What to do where layers can't be stacked. The module is loaded by the first mount, if somebody may load modules."""
    if any(line.split()[-1] == "overlay" for line in machine.text("/proc/filesystems").splitlines() if line.strip()):
        return Remedy()
    return Remedy("the kernel has no overlayfs yet: a module of that name", machine.loading("overlay"))


def mount_api(machine: Machine) -> Finding:
    def attempt(strategy: OverlayStrategy) -> Finding:
        return _with_place(lambda place: stack_on(place, (strategy,)).value)

    found = [finding.detail for finding in map(attempt, STRATEGIES) if finding.ok]
    return good("; ".join(found)) if found else off("no way to stack layers works", advice="see `overlayfs`")


def overlay_in_user_namespace(machine: Machine) -> Finding:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
        libc.unshare(processes.NEWNS)
        room = mounts.new_mount("tmpfs")
        for directory in ("l", "u", "w"):
            os.mkdir(directory, dir_fd=room)
        os.fchdir(room)
        place = os.open("/tmp", os.O_PATH | os.O_CLOEXEC)
        mounts.attach(room, place)
        options: dict[str, str | None] = {"lowerdir": "l", "upperdir": "u", "workdir": "w", "userxattr": None}
        mounts.new_mount("overlay", options)
        return "overlays can be made without root"

    return try_out(work, lambda: Remedy("Linux 5.11 or later is needed; as root it doesn't matter"))


def id_mapped_mounts(machine: Machine) -> Finding:
    if machine.uid != 0:
        return off("only root can make id-mapped mounts", advice="nothing to do: an ordinary user needs none")

    def work(place: Path) -> str:
        maps = id_maps.choose()
        mounts.id_map(mounts.clone_tree(place), namespaces.make_mapping(maps.uids, maps.gids))
        return f"on {mounts.file_system_name(place)} below `{place.parent}`"

    return _with_place(work, lambda: Remedy("set LAUNCH_HOME to a directory on ext4, xfs, btrfs or tmpfs"))


def private(machine: Machine, *, state: StateDir | None = None) -> Finding:
    """Files below may be set-user-id, and are the caller's: nobody else may come near them."""
    state = state or state_dir()
    for directory in (state.store, state.runs, state.cache):
        if directory.exists() and directory.stat().st_mode & 0o077:
            return off(f"others may enter `{directory}`", command=f"chmod go= {directory}")
    return good("nobody else may enter the store, runs and caches")


def _probe_directory() -> Path:
    """LAUNCH_HOME, or the nearest directory above that exists and is ours to write: overlays depend on the file system."""
    for directory in (state_dir().root, *state_dir().root.parents):
        if os.access(directory, os.W_OK):
            return directory
    return Path(tempfile.gettempdir())


def _with_place(work: Callable[[Path], str], remedy: Callable[[], Remedy] = Remedy) -> Finding:
    """`try_out` with a temporary directory on LAUNCH_HOME's file system. Removed as root of the ids that wrote there."""
    try:
        place = Path(tempfile.mkdtemp(prefix=".launch-doctor-", dir=_probe_directory()))
    except OSError as error:
        words = f"`{_probe_directory()}` cannot be written: {error.strerror}"
        return off(words, advice="set LAUNCH_HOME to a directory of yours")
    with ExitStack() as undo:
        undo.callback(_remove_tree, place)
        return try_out(lambda: work(place), remedy)


def _remove_tree(place: Path) -> None:
    def work() -> None:
        shutil.rmtree(place / "w", ignore_errors=True)  # overlayfs makes `w/work` with mode 0

    maps = id_maps.choose()
    if os.geteuid() != 0:
        namespaces.within_user_namespace(maps, work)
    shutil.rmtree(place, ignore_errors=True)
