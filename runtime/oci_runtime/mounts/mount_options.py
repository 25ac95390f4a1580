"""The options of a mount, as fstab(5) and the runtime-spec write them (config.md, "Mounts"), sorted by who takes them. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.kernel import mounts
from runtime.light_typing import Any, NamedTuple

MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20

ATTR_ATIME = 0x70
"""The bits of mount_setattr(2) that hold one of the three below."""
ATTR_RELATIME, ATTR_NOATIME, ATTR_STRICTATIME = 0x00, 0x10, 0x20
ATTR_NODIRATIME = 0x80
ATTR_NOSYMFOLLOW = 0x200000

_PROPAGATIONS = {"private": MS_PRIVATE, "shared": MS_SHARED, "slave": MS_SLAVE, "unbindable": MS_UNBINDABLE}

# Option → (bits set, bits cleared).
_ATTRIBUTES = {
    "ro": (mounts.ATTR_RDONLY, 0),
    "rw": (0, mounts.ATTR_RDONLY),
    "nosuid": (mounts.ATTR_NOSUID, 0),
    "suid": (0, mounts.ATTR_NOSUID),
    "nodev": (mounts.ATTR_NODEV, 0),
    "dev": (0, mounts.ATTR_NODEV),
    "noexec": (mounts.ATTR_NOEXEC, 0),
    "exec": (0, mounts.ATTR_NOEXEC),
    "nodiratime": (ATTR_NODIRATIME, 0),
    "diratime": (0, ATTR_NODIRATIME),
    "nosymfollow": (ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, ATTR_NOSYMFOLLOW),
    "relatime": (ATTR_RELATIME, ATTR_ATIME),
    "noatime": (ATTR_NOATIME, ATTR_ATIME),
    "strictatime": (ATTR_STRICTATIME, ATTR_ATIME),
    "atime": (ATTR_RELATIME, ATTR_ATIME),
    "norelatime": (ATTR_RELATIME, ATTR_ATIME),
    "nostrictatime": (ATTR_RELATIME, ATTR_ATIME),
}
_SUPERBLOCK_FLAGS = ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand", "silent", "loud", "iversion")
# What other runtimes take and what has no meaning for a mount that is made here.
_IGNORED = ("defaults", "_netdev", "nofail", "auto", "noauto", "user", "nouser", "x-mount.mkdir")


class MountPlan(NamedTuple):
    """What the options of one mount ask for."""

    bind: bool = False
    recursive: bool = False
    """rbind: what is mounted below comes along."""
    remount: bool = False
    attributes: int = 0
    """ATTR_* bits to set, of this mount only."""
    cleared: int = 0
    all_attributes: int = 0
    """ATTR_* bits to set on what is mounted below, too (`rro` and its kind)."""
    all_cleared: int = 0
    propagation: int = 0
    propagation_recursive: bool = False
    data: tuple[tuple[str, str | None], ...] = ()
    """Options of the file system itself; None is a flag."""
    superblock_flags: tuple[str, ...] = ()
    copy_up: bool = False
    """tmpcopyup: a tmpfs begins with what lies below it."""
    id_mapped: bool = False
    id_mapped_recursive: bool = False
    copy_symlink: bool = False
    source_is_not_followed: bool = False


def plan_mount(kind: str | None, options: Sequence[str]) -> MountPlan:
    """Sort *options*; later ones win."""
    found = MountPlan(bind=kind == "bind")
    data: list[tuple[str, str | None]] = []
    for option in options:
        sorted_in = _sort_in(found, option)
        if sorted_in is not None:
            found = sorted_in
        elif option and option not in _IGNORED:
            key, equals, value = option.partition("=")
            data.append((key, value if equals else None))
    return found._replace(data=tuple(data))


def _sort_in(found: MountPlan, option: str) -> MountPlan | None:
    """*found* with *option*; None when it is the file system's."""
    if option in _ATTRIBUTES:
        added, removed = _ATTRIBUTES[option]
        return found._replace(attributes=found.attributes & ~(removed | added) | added, cleared=found.cleared & ~added | removed)
    if option.startswith("r") and option[1:] in _ATTRIBUTES:
        added, removed = _ATTRIBUTES[option[1:]]
        return found._replace(
            all_attributes=found.all_attributes & ~(removed | added) | added, all_cleared=found.all_cleared & ~added | removed
        )
    recursive = option.startswith("r") and option[1:] in _PROPAGATIONS
    if recursive or option in _PROPAGATIONS:
        return found._replace(propagation=_PROPAGATIONS[option[1:] if recursive else option], propagation_recursive=recursive)
    if option in _SUPERBLOCK_FLAGS:
        return found._replace(superblock_flags=(*found.superblock_flags, option))
    simple = _SIMPLE.get(option)
    return None if simple is None else found._replace(**simple)


_SIMPLE: dict[str, dict[str, Any]] = {
    "bind": {"bind": True},
    "rbind": {"bind": True, "recursive": True},
    "remount": {"remount": True},
    "tmpcopyup": {"copy_up": True},
    "idmap": {"id_mapped": True},
    "ridmap": {"id_mapped": True, "id_mapped_recursive": True},
    "copy-symlink": {"copy_symlink": True},
    "src-nofollow": {"source_is_not_followed": True},
}


def default_options(destination: str) -> tuple[str, ...]:
    """The options of a mount that names none, for the places that every container has (as crun has them)."""
    return {
        "/dev": ("noexec", "strictatime", "mode=755"),
        "/dev/shm": ("noexec", "nosuid", "nodev", "mode=1777", "size=65536k"),
        "/dev/mqueue": ("noexec", "nosuid", "nodev"),
        "/dev/pts": ("noexec", "nosuid", "newinstance", "ptmxmode=0666", "mode=620"),
        "/sys": ("noexec", "nosuid", "nodev"),
    }.get(destination, ())


def propagation_flags(name: str) -> int:
    """`linux.rootfsPropagation` as mount(2) flags."""
    recursive = name.startswith("r") and name[1:] in _PROPAGATIONS
    return _PROPAGATIONS[name[1:] if recursive else name] | (MS_REC if recursive else 0)


def known_options() -> list[str]:
    """Every option that is not handed to the file system (features.md, "mountOptions")."""
    recursive = [f"r{name}" for name in (*_ATTRIBUTES, *_PROPAGATIONS)]
    return sorted({*_ATTRIBUTES, *_PROPAGATIONS, *recursive, *_SIMPLE, *_SUPERBLOCK_FLAGS, "defaults"})
