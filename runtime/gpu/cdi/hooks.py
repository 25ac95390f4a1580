"""The hooks that NVIDIA's specifications name, done by ourselves as edits. Nothing is run; a hook we don't know is refused.

A CDI hook is a program of the host that runs with the host's rights while the container's content is anybody's: link races and
LD_PRELOAD made it a way out of the container (CVE-2024-0132, CVE-2025-23266, CVE-2025-23267, CVE-2025-23359). What the known
ones do needs no program: links are made inside the root by the kernel's own path resolution, the rest is data.

    create-symlinks                    links
    create-soname-symlinks             links, by the SONAMEs of the files mounted there
    update-ldcache                     directories for the dynamic loader
    enable-cuda-compat                 decided for every image by `forward_compat.py`
    disable-device-node-modification   /proc/driver/nvidia is covered whenever an NVIDIA node is there
    update-application-profile         EGL's choice among GPUs; only the given nodes exist anyway
    chmod                              of directories that we make with mode 0755 anyway
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from runtime.errors import GpuError
from runtime.gpu.cdi.document import Hook
from runtime.gpu.edits import Edits
from runtime.gpu.elf import read_soname
from runtime.rootfs.mount_spec import HostFile, Symlink

_PROGRAMS = ("nvidia-cdi-hook", "nvidia-ctk")
_NEEDS_NOTHING = (
    "enable-cuda-compat",
    "disable-device-node-modification",
    "update-application-profile",
    "update-nvidia-application-profile",
    "chmod",
)


def hook_edits(hook: Hook, mounts: Sequence[HostFile]) -> Edits:
    """What *hook* would do to a container with *mounts*. Raises GpuError for one that isn't known."""
    command, *arguments = _command(hook)
    if command == "create-symlinks":
        return Edits(links=tuple(_link(pair) for pair in _values(arguments, "link")))
    if command == "update-ldcache":
        return Edits(library_dirs=tuple(_values(arguments, "folder")))
    if command == "create-soname-symlinks":
        return Edits(links=tuple(_soname_links(_values(arguments, "folder"), mounts)))
    if command in _NEEDS_NOTHING:
        return Edits()
    raise _unknown(hook)


def _command(hook: Hook) -> list[str]:
    words = list(hook.args[1:])
    program = os.path.basename(hook.path)
    if program not in _PROGRAMS:
        raise _unknown(hook)
    if program == "nvidia-ctk":
        if words[:1] != ["hook"]:
            raise _unknown(hook)
        words = words[1:]
    if not words:
        raise _unknown(hook)
    return words


def _unknown(hook: Hook) -> GpuError:
    words = " ".join((hook.path, *hook.args[1:3]))
    return GpuError(
        f"the hook `{words}` ({hook.name}) is unknown, and launch runs no programs of specifications",
        hint="a hook runs on this machine with all rights of whoever starts it; use a device without one",
    )


def _values(arguments: Sequence[str], option: str) -> Iterator[str]:
    """Values of `--option VALUE` and `--option=VALUE`, repeated or joined by commas."""
    words = iter(arguments)
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if name != option or not word.startswith("-"):
            continue
        text = value if equals else next(words, "")
        yield from filter(None, text.split(","))


def _link(pair: str) -> Symlink:
    points_to, separator, path = pair.partition("::")
    if not separator or not path.startswith("/"):
        raise GpuError(f"`{pair}` is not `TARGET::LINK`, as `create-symlinks` has it")
    return Symlink(path=path, points_to=points_to)


def _soname_links(folders: Iterator[str], mounts: Sequence[HostFile]) -> Iterator[Symlink]:
    wanted = set(folders)
    for mount in mounts:
        folder, name = os.path.split(mount.target)
        soname = read_soname(mount.source) if folder in wanted and mount.source.is_file() else None
        if soname and soname != name:
            yield Symlink(path=f"{folder}/{soname}", points_to=name)
