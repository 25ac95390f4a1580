"""What devices add to a container, as data: the same values whether they come from a live driver or from a CDI specification.

`inject.py` makes them for leased GPUs, `cdi/resolve.py` for named devices, `runtime.container.device_edits` puts them into a
ContainerSpec, `cdi/generate.py` writes them down for other runtimes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from runtime.light_dataclasses import dataclass
from runtime.rootfs.mount_spec import DeviceNode, HostFile, Symlink


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes to a container. `plus` joins two; what comes later wins."""

    env: tuple[tuple[str, str], ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[HostFile, ...] = ()
    links: tuple[Symlink, ...] = ()
    library_dirs: tuple[str, ...] = ()
    """Directories of the container that its dynamic loader has to search, behind the image's own choice."""
    groups: tuple[int, ...] = ()
    """Groups of the host without which a node can't be opened."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    def plus(self, other: Edits) -> Edits:
        return Edits(
            env=tuple((dict(self.env) | dict(other.env)).items()),
            nodes=_last_at_each_place(self.nodes + other.nodes),
            mounts=_last_at_each_place(self.mounts + other.mounts),
            links=tuple({link.path: link for link in self.links + other.links}.values()),
            library_dirs=_once(self.library_dirs + other.library_dirs),
            groups=tuple(sorted({*self.groups, *other.groups})),
            notes=_once(self.notes + other.notes),
        )

    def sorted(self) -> Edits:
        """The same in an order that doesn't depend on how it was found."""
        return Edits(
            env=tuple(sorted(self.env)),
            nodes=tuple(sorted(self.nodes, key=lambda one: one.target)),
            mounts=tuple(sorted(self.mounts, key=lambda one: one.target)),
            links=tuple(sorted(self.links, key=lambda one: one.path)),
            library_dirs=self.library_dirs,
            groups=tuple(sorted(set(self.groups))),
            notes=self.notes,
        )


def join_edits(parts: Iterable[Edits]) -> Edits:
    """All of *parts*, the later winning."""
    whole = Edits()
    for part in parts:
        whole = whole.plus(part)
    return whole


_Placed = TypeVar("_Placed", DeviceNode, HostFile)


def _last_at_each_place(placed: tuple[_Placed, ...]) -> tuple[_Placed, ...]:
    return tuple({one.target: one for one in placed}.values())


def _once(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
