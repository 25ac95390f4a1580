"""The cgroup of a bundle's container: made at `linux.cgroupsPath`, on v1, v2 and hybrid machines, and limited.

`runtime.cgroup.own_cgroups` makes those of launches, below our own and wherever limits can be had; here the bundle says where.
"""

from __future__ import annotations

import errno
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.control_file import Setting, read_value, write_value
from runtime.cgroup.hierarchies import Hierarchies, own_hierarchies
from runtime.cgroup.limit_files import v1_settings, v2_settings
from runtime.errors import ContainerError
from runtime.kernel.processes import is_root_of_machine
from runtime.oci.resource_config import Resources

_UNIFIED = ""


def make_cgroup(path: str | None, container_id: str) -> Cgroup:
    """Make the container's cgroup. It has no directories where there are no cgroups, and where this user may make none and the
    bundle asks for none. Its controllers are those of v1."""
    own = own_hierarchies()
    made: dict[str, Path] = {}
    for controller, mount, ours in _places(own):
        directory = _directory(path, container_id, mount, ours)
        try:
            _make_directories(controller, directory, mount)
        except OSError as error:
            if path is None or not is_root_of_machine():
                continue
            raise ContainerError(f"cannot make the cgroup `{directory}`: {error.strerror}") from error
        made[controller] = directory
    unified = made.pop(_UNIFIED, None)
    return Cgroup(container_id, made, unified)


def _places(own: Hierarchies) -> list[tuple[str, Path, Path]]:
    """Controller, mount point, own directory."""
    places = [(controller, own.legacy_mounts[controller], own.legacy[controller]) for controller in own.legacy]
    if own.unified is not None and own.unified_mount is not None:
        places.append((_UNIFIED, own.unified_mount, own.unified))
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
        if controller == _UNIFIED:
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


def apply(cgroup: Cgroup, resources: Resources) -> None:
    """Set the limits of *resources*. Raises ContainerError when one can't be."""
    unified, legacy = cgroup.unified, cgroup.controllers
    given = set((read_value(unified / "cgroup.controllers") or "").split()) if unified is not None else set()
    for setting in v1_settings(resources) if legacy else ():
        if setting.controller in legacy:
            _write(legacy[setting.controller], setting)
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
            _write(unified, setting)
    _apply_devices(cgroup, resources)


def _write(directory: Path, setting: Setting) -> None:
    try:
        write_value(directory / setting.file, setting.value)
    except OSError as error:
        if error.errno == errno.ENOENT and not setting.required:
            return
        if setting.file == "memory.limit_in_bytes" and _raise_with_swap(directory, setting):
            return
        raise ContainerError(
            f"cannot write `{setting.value}` to `{directory / setting.file}`: {(error.strerror or '').lower()}"
        ) from error


def _raise_with_swap(directory: Path, setting: Setting) -> bool:
    """v1 keeps memory below memory and swap: raising both, the second must go first."""
    try:
        write_value(directory / "memory.memsw.limit_in_bytes", setting.value)
        write_value(directory / setting.file, setting.value)
    except OSError:
        return False
    return True


def _apply_devices(cgroup: Cgroup, resources: Resources) -> None:
    if not resources.devices:
        return
    from runtime.oci_runtime.cgroups.device_rules import attach_filter, v1_lines

    if "devices" in cgroup.controllers:
        for file, line in v1_lines(resources.devices):
            write_value(cgroup.controllers["devices"] / file, line)
    elif cgroup.unified is not None:
        attach_filter(cgroup.unified, resources.devices)
