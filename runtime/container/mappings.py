"""User namespaces of one of root's containers: its own, and those that nobody enters, whose maps its mounts are shown through.

The creator makes them, since a process in a new PID namespace can't find the numbers of its children in the machine's /proc.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from runtime.errors import ContainerError
from runtime.kernel import namespaces
from runtime.kernel.id_maps import IdMap, IdMaps, owner_first, swap_map
from runtime.light_dataclasses import dataclass
from runtime.rootfs.mount_spec import BindMount
from runtime.rootfs.overlay import LayerMaps

_Owner = tuple[int, int, tuple[int, int]]
"""uid and gid on disk, and whose files those are in the container."""


@dataclass(frozen=True, slots=True)
class Mappings:
    """Descriptors of user namespaces."""

    container: int
    """The one that the container lives in; its map is that of the layers, and of files that are root's."""
    swap: int
    """For the writable directory (`id_maps.swap_map`)."""
    first_ids: tuple[int, int]
    owners: dict[_Owner, int]
    killed: tuple[int, ...]
    """Children to be reaped: on a busy machine waiting for them takes longer than all else that makes a container."""

    def for_layers(self) -> LayerMaps:
        return LayerMaps(self.container, self.swap, shift=self.first_ids)

    def for_bind(self, uid: int, gid: int, inside: tuple[int, int] = (0, 0)) -> int:
        """The map that shows files of *uid*, *gid* as those of *inside*."""
        try:
            return self.owners[uid, gid, inside]
        except KeyError:
            raise ContainerError(f"a directory to be mounted was given to {uid}:{gid} while the container was made") from None

    def descriptors(self) -> tuple[int, ...]:
        return self.swap, *set(self.owners.values())

    def close(self) -> None:
        for fd in self.descriptors():
            os.close(fd)
        namespaces.reap(self.killed)


def mappings(maps: IdMaps, binds: Iterable[BindMount]) -> Mappings:
    """Those of a container with *maps* and *binds*."""
    uid_base, gid_base = maps.uids.extents[0].outside, maps.gids.extents[0].outside
    owners = [owner for owner in dict.fromkeys(map(_owner, binds)) if owner is not None and owner != (0, 0, (0, 0))]
    wanted: list[tuple[IdMap, IdMap]] = [(swap_map(uid_base), swap_map(gid_base))]
    wanted += [(owner_first(uid, uid_base, inside[0]), owner_first(gid, gid_base, inside[1])) for uid, gid, inside in owners]
    (container, swap, *of_binds), killed = namespaces.make_user_namespaces(maps, wanted)
    known = {(0, 0, (0, 0)): container} | dict(zip(owners, of_binds, strict=True))
    return Mappings(container, swap, (uid_base, gid_base), known, killed)


def _owner(bind: BindMount) -> _Owner | None:
    """None: it isn't there, and its mount will say so."""
    if not bind.owner_is_caller:
        return 0, 0, (0, 0)
    try:
        found = os.stat(bind.source)
    except OSError:
        return None
    return found.st_uid, found.st_gid, bind.owner
