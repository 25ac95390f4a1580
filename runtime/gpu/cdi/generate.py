"""A CDI specification of this machine's NVIDIA GPUs, from the same values that our own containers get.

Names are as NVIDIA's toolkit gives them: index, UUID and `all`; slices are `index:slice`, and a GPU in MIG mode has no entry of
its own. Hooks are written only where the program that does them (nvidia-cdi-hook) is installed; without it the file needs none:
every library is mounted under its SONAME where glibc looks without being told, in Debian's directory and in everybody else's
(ld.so(8)). LD_LIBRARY_PATH would do, too, but CDI runtimes replace what an image has in a variable (spec_editor.go, addEnv).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from runtime.errors import GpuError
from runtime.gpu.cdi.document import ContainerEdits, Device, Hook, Mount, Node, Specification, needed_version
from runtime.gpu.edits import Edits, join_edits
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import device, nvidia_driver
from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.nvidia.driver_files import CAPABILITIES
from runtime.gpu.roots import Roots
from runtime.light_dataclasses import replace
from runtime.rootfs.mount_spec import DeviceNode, HostFile

KIND = "nvidia.com/gpu"
EVERYTHING = frozenset(CAPABILITIES) - {"all", "compat32"}
_GLIBC_DIRS = (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64")
_OPTIONS = ("nosuid", "nodev", "rbind", "rprivate")


def nvidia_specification(
    gpus: Sequence[Gpu], *, hook: str | None, capabilities: frozenset[str] = EVERYTHING, roots: Roots | None = None
) -> tuple[Specification, tuple[str, ...]]:
    """The specification of *gpus*, and notes. *hook*: path of nvidia-cdi-hook, or None. Raises GpuError without a usable GPU."""
    roots = roots or Roots.of_this_machine()
    usable = [gpu for gpu in gpus if gpu.vendor == "nvidia" and gpu.trouble is None and gpu.uuid is not None]
    named = [(names, edits) for gpu in usable for names, edits in _named_edits(gpu, capabilities, roots)]
    if not named:
        raise GpuError("no NVIDIA GPU here that can be used", hint="`launch gpus` shows what this machine has, and why")
    devices = [Device(name, _container_edits(edits)) for names, edits in named for name in names]
    devices.append(Device("all", _container_edits(join_edits(edits for _, edits in named))))
    common = nvidia_driver(capabilities=capabilities, roots=roots)
    version = find_driver(roots).version
    spec = Specification(
        "", KIND, tuple(devices), _container_edits(common, hooks=_hooks(hook, version, common), has_hooks=hook is not None)
    )
    return replace(spec, version=needed_version(spec)), common.notes


def _named_edits(gpu: Gpu, capabilities: frozenset[str], roots: Roots) -> Iterator[tuple[tuple[str, ...], Edits]]:
    """(names, edits) of a GPU, or of each of its slices."""
    if not gpu.mig_enabled:
        yield (str(gpu.index), str(gpu.uuid)), device(gpu, capabilities=capabilities, roots=roots)
        return
    for one in gpu.mig:
        yield (f"{gpu.index}:{one.index}", one.uuid), device(gpu, one, capabilities=capabilities, roots=roots)


def _hooks(program: str | None, version: str, common: Edits) -> tuple[Hook, ...]:
    if program is None:
        return ()
    folders = [word for directory in common.library_dirs for word in ("--folder", directory)]
    commands = (
        ("enable-cuda-compat", f"--host-driver-version={version}"),
        ("update-ldcache", *folders),
        ("disable-device-node-modification",),
    )
    env = ("NVIDIA_CTK_DEBUG=false",)
    return tuple(Hook("createContainer", program, (os.path.basename(program), *words), env) for words in commands)


def _container_edits(edits: Edits, *, hooks: tuple[Hook, ...] = (), has_hooks: bool = False) -> ContainerEdits:
    edits = edits.sorted()
    mounts = edits.mounts if has_hooks else sorted(_where_glibc_looks(edits), key=lambda one: one.target)
    return ContainerEdits(
        env=tuple(f"{name}={value}" for name, value in edits.env),
        nodes=tuple(_node(one) for one in edits.nodes),
        mounts=tuple(_mount(one) for one in mounts),
        hooks=hooks,
        additional_gids=edits.groups,
    )


def _where_glibc_looks(edits: Edits) -> Iterator[HostFile]:
    for file in edits.mounts:
        below = next((place for place in edits.library_dirs if file.target.startswith(f"{place}/")), None)
        if below is None:
            yield file
        else:
            yield from (file._replace(target=f"{place}{file.target.removeprefix(below)}") for place in _GLIBC_DIRS)


def _node(file: DeviceNode) -> Node:
    found = file.source.stat()
    closed = found.st_mode & 0o006 != 0o006
    return Node(
        path=file.target,
        host_path=None if str(file.source) == file.target else str(file.source),
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev) or None,  # the reference leaves out zeros, too
        file_mode=stat.S_IMODE(found.st_mode),
        permissions="rwm",
        gid=found.st_gid if closed else None,
    )


def _mount(file: HostFile) -> Mount:
    access = ("ro",) if file.readonly else ("noexec",)
    return Mount(str(file.source), file.target, options=(*access, *_OPTIONS))
