"""From named CDI devices to Edits, checked against this machine: a specification that has become stale is told before a start.

The edits of each file come first, once, then those of its devices as they were asked for (cache.go, InjectDevices). A device node
is never made from the numbers in a file: it is the host's own, and numbers that differ from it are an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import GpuError
from runtime.gpu.cdi.document import ContainerEdits, DeviceName, Mount, Node
from runtime.gpu.cdi.files import Catalogue, Found
from runtime.gpu.cdi.hooks import hook_edits
from runtime.gpu.edits import Edits, join_edits
from runtime.rootfs.mount_spec import DeviceNode, HostFile
from runtime.suggestions import did_you_mean

_LIBRARY_PATH = "LD_LIBRARY_PATH"
_HARMLESS_OPTIONS = frozenset(
    ("ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "suid", "dev", "exec", "private", "rprivate", "slave", "rslave")
)


def device_edits(names: Sequence[DeviceName], catalogue: Catalogue) -> Edits:
    """The edits of *names*. Raises GpuError: unknown ones are named together, with where was looked."""
    missing = [name for name in names if name not in catalogue.devices]
    if missing:
        raise _unresolvable(missing, catalogue)
    parts: list[Edits] = []
    seen: set[Path] = set()
    for name in names:
        found = catalogue.devices[name]
        if found.file not in seen:
            seen.add(found.file)
            parts.append(_edits(found.specification.edits, found, f"all devices of `{found.specification.kind}`"))
        parts.append(_edits(found.device.edits, found, f"`{name}`"))
    return join_edits(parts)


def _unresolvable(missing: Sequence[DeviceName], catalogue: Catalogue) -> GpuError:
    listed = ", ".join(f"`{name}`" for name in missing)
    lines = [f"searched: {', '.join(map(str, catalogue.directories))}"]
    lines.append(f"read: {', '.join(map(str, catalogue.files)) or 'no file'}")
    lines += [f"left out: {path}: {why}" for path, why in catalogue.mistakes.items()]
    for name, files in catalogue.conflicts.items():
        if name in missing:
            lines.append(f"`{name}` is defined by two files of one directory, so by none: {', '.join(map(str, files))}")
    return GpuError(f"no CDI device {listed}\n  " + "\n  ".join(lines), hint=_suggest(missing[0], catalogue))


def _suggest(name: DeviceName, catalogue: Catalogue) -> str:
    known = [str(one) for one in catalogue.devices]
    hint = did_you_mean(str(name), known, limit=3)
    if hint is not None:
        return hint
    if known:
        return f"known are {', '.join(f'`{one}`' for one in sorted(known)[:8])}"
    if name.kind == "nvidia.com/gpu":
        return "NVIDIA GPUs need no specification here: `gpus=1` leases one; `launch gpus cdi` writes a specification"
    return "the vendor's toolkit writes one, for example into /etc/cdi"


def _edits(edits: ContainerEdits, found: Found, what: str) -> Edits:
    try:
        return _translate(edits)
    except GpuError as error:
        hint = error.hint or f"the specification may be older than the driver: make it again ({found.file})"
        raise GpuError(f"{what} from {found.file}: {error.message}", hint=hint) from None


def _translate(edits: ContainerEdits) -> Edits:
    if edits.net_devices:
        raise GpuError(
            f"it moves the network interface `{edits.net_devices[0].host_name}` into the container, which is not supported",
            hint="`network=host` shows the program all interfaces of this machine",
        )
    env = dict(entry.partition("=")[::2] for entry in edits.env)
    searched = tuple(filter(None, env.pop(_LIBRARY_PATH, "").split(":")))
    nodes = tuple(_node(node) for node in edits.nodes)
    placed = [_mount(mount) for mount in edits.mounts]
    mounts = tuple(one for one in placed if isinstance(one, HostFile))
    notes = tuple(
        f"permissions `{node.permissions}` of `{node.path}` can't be kept to" for node in edits.nodes if _is_restricted(node)
    )
    whole = Edits(
        env=tuple(env.items()),
        nodes=nodes + tuple(one for one in placed if isinstance(one, DeviceNode)),
        mounts=mounts,
        # A library path is joined to the image's: replaced, as an environment variable is, it would hide the image's own.
        library_dirs=searched,
        groups=tuple(sorted({gid for gid in edits.additional_gids if gid})),
        notes=notes + (("`intelRdt` is left out: a run has no resource group of its own",) if edits.intel_rdt else ()),
    )
    return join_edits([whole, *(hook_edits(hook, mounts) for hook in edits.hooks)])


def _is_restricted(node: Node) -> bool:
    """Whether the program may do less with a node than its mode lets it: nobody enforces that without a device cgroup."""
    return node.permissions is not None and not {"r", "w"} <= set(node.permissions)


def _node(node: Node) -> DeviceNode:
    source = node.host_path or node.path
    try:
        found = os.lstat(source)
    except OSError as error:
        raise GpuError(f"device node `{source}`: {os.strerror(error.errno or 0)}") from None
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        raise GpuError(f"`{source}` is not a device node")
    if kind == "p":
        raise GpuError(f"`{source}` is a named pipe, which is not supported as a device")
    if node.type is not None and ("c" if node.type == "u" else node.type) != kind:
        raise GpuError(f"`{source}` is of type `{kind}`, the specification says `{node.type}`")
    has = (os.major(found.st_rdev), os.minor(found.st_rdev))
    if node.major and has != (node.major, node.minor or 0):
        raise GpuError(f"`{source}` is {has[0]}:{has[1]}, the specification says {node.major}:{node.minor or 0}")
    if not node.path.startswith("/dev/") or ".." in node.path.split("/"):
        raise GpuError(f"a device node belongs below /dev, not at `{node.path}`")
    return DeviceNode(Path(source), node.path)


def _mount(mount: Mount) -> HostFile | DeviceNode:
    if mount.type not in (None, "bind", "rbind", "none"):
        raise GpuError(f"a mount of type `{mount.type}` (at `{mount.container_path}`) is not supported: files of the host are")
    strange = sorted(option for option in mount.options if option not in _HARMLESS_OPTIONS)
    if strange:
        raise GpuError(f"the mount option `{strange[0]}` (at `{mount.container_path}`) is not supported")
    try:
        found = os.stat(mount.host_path)
    except OSError as error:
        raise GpuError(f"`{mount.host_path}`: {os.strerror(error.errno or 0)}") from None
    target = mount.container_path
    if not target.strip("/") or not target.startswith("/") or ".." in target.split("/") or target.startswith(("/proc/", "/sys/")):
        raise GpuError(f"`{target}` is not a place for a mount")
    if target.startswith("/dev/"):
        if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise GpuError(f"only device nodes can be mounted below /dev, and `{mount.host_path}` is not one")
        return DeviceNode(Path(mount.host_path), target)
    return HostFile(Path(mount.host_path), target, readonly="ro" in mount.options)
