"""The cgroup of a bundle's container: at `linux.cgroupsPath`, on v1, v2 and hybrid machines. Made, filled, frozen, removed.

`runtime.cgroup` makes cgroups for launches, below our own and wherever limits can be had; here the bundle says where.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.cgroup.control_file import Setting, read_pids, read_value, write_value
from runtime.cgroup.hierarchies import Hierarchies, hierarchies, own_hierarchies
from runtime.errors import ContainerError
from runtime.oci.resource_config import Resources
from runtime.oci_runtime.cgroups.resource_files import v1_settings, v2_settings
from runtime.oci_runtime.privileges import is_root_of_machine

UNIFIED = ""
_WITHIN_S = 5.0


def make(path: str | None, container_id: str) -> dict[str, str]:
    """Make the directories of the container's cgroup: controller, or UNIFIED, → directory. Empty where there are no cgroups, and
    where this user may make none and the bundle asks for none."""
    own = own_hierarchies()
    made: dict[str, str] = {}
    for controller, mount, ours in _places(own):
        directory = _directory(path, container_id, mount, ours)
        try:
            _make_directories(controller, directory, mount)
        except OSError as error:
            if path is None or not is_root_of_machine():
                continue
            raise ContainerError(f"cannot make the cgroup `{directory}`: {error.strerror}") from error
        made[controller] = str(directory)
    return made


def _places(own: Hierarchies) -> list[tuple[str, Path, Path]]:
    """Controller, mount point, own directory."""
    places = [(controller, own.legacy_mounts[controller], own.legacy[controller]) for controller in own.legacy]
    if own.unified is not None and own.unified_mount is not None:
        places.append((UNIFIED, own.unified_mount, own.unified))
    return places


def _directory(path: str | None, container_id: str, mount: Path, ours: Path) -> Path:
    """An absolute path counts from the mount point; a relative one, and the default, from our own cgroup."""
    if path is None:
        # On v2 a cgroup with processes gives no controllers to children: beside our own then.
        parent = ours if ours == mount else ours.parent
        return parent / f"launch-oci-{container_id}"
    if ".." in path.split("/"):
        raise ContainerError(f"`linux.cgroupsPath` leads out of the hierarchy: `{path}`")
    return (mount if path.startswith("/") else ours) / path.strip("/")


def _make_directories(controller: str, directory: Path, mount: Path) -> None:
    current = mount
    for part in directory.relative_to(mount).parts:
        if controller == UNIFIED:
            _give_controllers(current)
        current = current / part
        try:
            current.mkdir(mode=0o755)
        except FileExistsError:
            continue
        if controller == "cpuset":
            # A new cpuset has neither CPUs nor memory, and nobody can be in it (v1/cpusets.rst).
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not read_value(current / file):
                    write_value(current / file, read_value(current.parent / file) or "")


def _give_controllers(directory: Path) -> None:
    given = set((read_value(directory / "cgroup.subtree_control") or "").split())
    for controller in (read_value(directory / "cgroup.controllers") or "").split():
        if controller not in given:
            try:
                write_value(directory / "cgroup.subtree_control", f"+{controller}")
            except OSError:
                continue  # processes are in it, or it isn't ours: a limit that needs the controller will say so


def add(cgroups: Mapping[str, str], pid: int) -> None:
    """Move process *pid* in."""
    for directory in dict.fromkeys(cgroups.values()):
        try:
            write_value(Path(directory, "cgroup.procs"), str(pid))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a threaded cgroup
                write_value(Path(directory, "cgroup.threads"), str(pid))
                continue
            raise ContainerError(f"cannot move process {pid} into cgroup `{directory}`: {error.strerror}") from error


def enter(directories: Sequence[str]) -> None:
    """Move this process, which has one thread, into v1 cgroups. Unlike a move of another process, or into the v2 hierarchy, this
    waits for nobody (cgroup_procs_write_start in the kernel's cgroup.c)."""
    for directory in directories:
        try:
            write_value(Path(directory, "tasks"), "0")
        except OSError as error:
            raise ContainerError(f"cannot enter cgroup `{directory}`: {error.strerror}") from error


def apply(cgroups: Mapping[str, str], resources: Resources) -> None:
    """Set the limits of *resources*. Raises ContainerError when one can't be."""
    unified = cgroups.get(UNIFIED)
    given = set((read_value(Path(unified, "cgroup.controllers")) or "").split()) if unified is not None else set()
    legacy = [one for one in cgroups if one != UNIFIED]
    for setting in v1_settings(resources) if legacy else ():
        if setting.controller in cgroups:
            _write(Path(cgroups[setting.controller]), setting)
        elif setting.required and setting.controller not in given:
            raise ContainerError(f"this machine has no cgroup controller `{setting.controller}` for `{setting.file}`")
    if unified is not None:
        for setting in v2_settings(resources):
            if setting.controller in legacy:
                continue
            asked = (setting.file, setting.value) in resources.unified
            if legacy and setting.controller not in given and not asked:
                continue
            if asked and setting.controller not in given | {"cgroup"}:
                raise ContainerError(f"the requested cgroup controller `{setting.controller}` is not available")
            _write(Path(unified, ""), setting)
    _apply_devices(cgroups, resources)


def _write(directory: Path, setting: Setting) -> None:
    try:
        write_value(directory / setting.file, setting.value)
    except OSError as error:
        if error.errno == errno.ENOENT and not setting.required:
            return
        if setting.file == "memory.limit_in_bytes" and _raised_with_swap(directory, setting):
            return
        raise ContainerError(
            f"cannot write `{setting.value}` to `{directory / setting.file}`: {(error.strerror or '').lower()}"
        ) from error


def _raised_with_swap(directory: Path, setting: Setting) -> bool:
    """v1 keeps memory below memory and swap: raising both, the second must go first."""
    try:
        write_value(directory / "memory.memsw.limit_in_bytes", setting.value)
        write_value(directory / setting.file, setting.value)
    except OSError:
        return False
    return True


def _apply_devices(cgroups: Mapping[str, str], resources: Resources) -> None:
    if not resources.devices:
        return
    from runtime.oci_runtime.cgroups.device_rules import attach_filter, v1_lines

    if "devices" in cgroups:
        for file, line in v1_lines(resources.devices):
            write_value(Path(cgroups["devices"], file), line)
    elif UNIFIED in cgroups:
        attach_filter(Path(cgroups[UNIFIED]), resources.devices)


def _freezers(cgroups: Mapping[str, str]) -> tuple[Path | None, Path | None]:
    legacy, unified = cgroups.get("freezer"), cgroups.get(UNIFIED)
    return (
        Path(legacy, "freezer.state") if legacy is not None else None,
        Path(unified, "cgroup.freeze") if unified is not None else None,
    )


def is_frozen(cgroups: Mapping[str, str]) -> bool:
    """Whether somebody paused it."""
    legacy, unified = _freezers(cgroups)
    if legacy is not None:
        return read_value(legacy) in ("FROZEN", "FREEZING")
    return unified is not None and read_value(unified) == "1"


def freeze(cgroups: Mapping[str, str], *, frozen: bool) -> None:
    """Stop everything in it where it stands, or let it go on. Raises ContainerError."""
    legacy, unified = _freezers(cgroups)
    file, value, done = (
        (legacy, "FROZEN" if frozen else "THAWED", "FROZEN" if frozen else "THAWED")
        if legacy is not None
        else (unified, "1" if frozen else "0", "1" if frozen else "0")
    )
    if file is None:
        raise ContainerError("the container has no cgroup that can be frozen")
    try:
        write_value(file, value)
    except OSError as error:
        raise ContainerError(f"cannot write `{value}` to `{file}`: {error.strerror}") from error
    deadline = time.monotonic() + _WITHIN_S
    while read_value(file) != done and time.monotonic() < deadline:
        time.sleep(0.002)


def thaw(pid: int) -> None:
    """Let process *pid* go on, in whatever v1 cgroup somebody froze it."""
    try:
        of_process = hierarchies(Path("/proc/self/mountinfo").read_text(), Path(f"/proc/{pid}/cgroup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return
    freezer = of_process.legacy.get("freezer")
    if freezer is not None and read_value(freezer / "freezer.state") in ("FROZEN", "FREEZING"):
        write_value(freezer / "freezer.state", "THAWED")


def pids(cgroups: Mapping[str, str]) -> list[int]:
    """Every process in it, ascending."""
    found: set[int] = set()
    for directory in dict.fromkeys(cgroups.values()):
        for parent, _, _ in os.walk(directory):
            found.update(read_pids(Path(parent)))
    return sorted(found)


def kill(cgroups: Mapping[str, str], number: int) -> None:
    """Send a signal to every process in it."""
    for pid in pids(cgroups):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def remove(cgroups: Mapping[str, str]) -> None:
    """Remove the directories and all cgroups below. Idempotent; raises ContainerError when processes are left."""
    deadline = time.monotonic() + _WITHIN_S
    for directory in dict.fromkeys(cgroups.values()):
        while not _removed(directory):
            if time.monotonic() > deadline:
                raise ContainerError(f"cannot remove cgroup `{directory}`: processes are left (pids {pids(cgroups)[:10]})")
            time.sleep(0.005)


def _removed(directory: str) -> bool:
    for parent, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
    return True
