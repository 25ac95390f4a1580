"""What a container wants mounted beside its layers: data only; the appliers are the other files here."""

from __future__ import annotations

from pathlib import Path

from runtime.light_typing import NamedTuple


class BindMount(NamedTuple):
    """A file or directory of the host at *target*. With *owner_is_caller* container root's files belong to the caller on disk
    (id-mapped mount as root; the user namespace's own map otherwise)."""

    source: Path
    target: str
    readonly: bool = True
    owner_is_caller: bool = True
    executable: bool = True
    owner: tuple[int, int] = (0, 0)
    """Ids of the container that the caller's files have: another than its root where the image says `USER`."""
    may_be_lent: bool = False
    """Where its file system can't show other owners, it is given to the container's ids; who asked for that takes it back."""


class LayersMount(NamedTuple):
    """What other layers hold at *source*, shown at *target*. What is written there goes into *overlay_dir*, and so away."""

    layers: tuple[Path, ...]
    """Bottom first."""
    overlay_dir: Path
    """A directory of its own on a real file system, with `u` and `w` in it."""
    target: str
    source: str = ""
    """A file or directory below the root of the layers; links are followed inside it."""
    readonly: bool = True


class TmpfsMount(NamedTuple):
    target: str
    size_bytes: int | None = None
    mode: int = 0o755


class TmpfsFile(NamedTuple):
    """A small file that exists only in the container's memory (a secret, /run/launch/env): never on disk."""

    target: str
    content: bytes
    mode: int = 0o400
    owner: tuple[int, int] | None = None
    """Ids of the container; None is whom the program runs as."""

    def __repr__(self) -> str:
        return f"TmpfsFile(target={self.target!r}, mode={self.mode:#o}, owner={self.owner})"  # without the secret


class DeviceNode(NamedTuple):
    """A host device bound to the same (or another) path in the container's /dev."""

    source: Path
    target: str


class HostFile(NamedTuple):
    """A file, directory or socket of the host's system at *target*, with its owner as it is: of a driver, of a daemon."""

    source: Path
    target: str
    readonly: bool = True


class Symlink(NamedTuple):
    """A symbolic link to be made in the container."""

    path: str
    points_to: str


class ProcCover(NamedTuple):
    """A directory of /proc that shows nothing but *files* (name, content) and what it has at *kept* itself."""

    path: str
    files: tuple[tuple[str, str], ...] = ()
    kept: tuple[str, ...] = ()
