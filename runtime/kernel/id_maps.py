"""Which ids of this machine a container's ids are (user_namespaces(7), "User and group ID mappings"): decided purely.

Three kinds, best first:

    ranged   root: container ids 0…65535 are an unprivileged range; whoever escapes is nobody. Disk stays 0-based through
             id-mapped mounts, so `on_disk` is the identity
    subids   an ordinary user with newuidmap and a line in /etc/subuid: 0 is the caller, 1… are the caller's sub-ids
    single   an ordinary user without: one id, the caller's

Making namespaces with these maps is `namespaces.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from runtime.light_dataclasses import dataclass

RANGE_BASE = 0x70000000
"""First id of the range that root's containers use when /etc/subuid gives root none: above systemd-nspawn's ranges
(0x00080000 to 0x6FFFFFFF, systemd's UIDS-GIDS.md), below 2^31 (some file systems stop there)."""
RANGE_SIZE = 65536


@dataclass(frozen=True, slots=True)
class Extent:
    """*count* ids from *inside* (in the namespace) are those from *outside*."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class IdMap:
    """A /proc/PID/uid_map."""

    extents: tuple[Extent, ...]

    @property
    def text(self) -> str:
        return "".join(f"{one.inside} {one.outside} {one.count}\n" for one in self.extents)

    def outside(self, inside: int) -> int | None:
        for one in self.extents:
            if one.inside <= inside < one.inside + one.count:
                return one.outside + inside - one.inside
        return None


class IdMapKind(StrEnum):
    RANGED = "ranged"
    SUBIDS = "subids"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class IdMaps:
    """The maps of one container."""

    kind: IdMapKind
    uids: IdMap
    gids: IdMap

    def process_owner(self, uid: int, gid: int) -> tuple[int, int] | None:
        """The ids that a host process chowns to, so that *uid*, *gid* of the container own it; None = leave it to the kernel."""
        if self.kind is not IdMapKind.RANGED:
            return None
        return self.uids.extents[0].outside + uid, self.gids.extents[0].outside + gid


def parse_map(text: str) -> IdMap:
    """Content of /proc/PID/uid_map."""
    return IdMap(tuple(Extent(*map(int, line.split())) for line in text.splitlines() if line.strip()))


def sub_ids(text: str, *, names: Sequence[str]) -> Extent | None:
    """The first range that subuid(5) *text* gives to one of *names* (login name, or uid in digits): outside and count."""
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if owner in names and start.isdigit() and count.isdigit() and int(count) > 0:
            return Extent(1, int(start), min(int(count), RANGE_SIZE))
    return None


def owner_of_sub_id(text: str, uid: int) -> str | None:
    """Whose range in subuid(5) *text* holds *uid*: a process with that id runs in a user namespace of theirs."""
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if start.isdigit() and count.isdigit() and 0 <= uid - int(start) < int(count):
            return owner
    return None


def unprivileged_range(own: IdMap, wanted: Extent | None) -> Extent | None:
    """65536 ids for root's containers within the ids that this process's own namespace maps.

    *wanted* comes first, then RANGE_BASE, then the end of the largest extent (root inside another container). None: there is no
    room, since the own namespace has hardly more ids than that.
    """
    candidates = [Extent(0, base, RANGE_SIZE) for base in (*((wanted.outside,) if wanted else ()), RANGE_BASE)]
    largest = max(own.extents, key=lambda one: one.count)
    if largest.count >= 2 * RANGE_SIZE:
        candidates.append(Extent(0, largest.inside + largest.count - RANGE_SIZE, RANGE_SIZE))
    for candidate in candidates:
        for one in own.extents:
            if one.inside <= candidate.outside and candidate.outside + RANGE_SIZE <= one.inside + one.count:
                return candidate
    return None


def swap_map(base: int) -> IdMap:
    """The map of the mount that an overlay's upper directory is reached through: disk ids 0… and *base*… change places.

    With the plain map the mounter, the host's root, would have no id on that mount and overlayfs could not make its work
    directory; with this one it has (it appears as *base* on disk) and the container's files are 0-based.
    """
    return IdMap((Extent(0, base, RANGE_SIZE), Extent(base, 0, RANGE_SIZE)))


def owner_first(owner: int, base: int, inside: int = 0) -> IdMap:
    """The map of a bind mount whose files of disk id *owner* belong to *inside* of the container, and which stays one-to-one.

    The ids *inside* and *owner* change places; an *owner* above the range takes the other's place, who has none.
    """
    if owner == inside:
        return IdMap((Extent(0, base, RANGE_SIZE),))
    moved = {owner: inside} if owner >= RANGE_SIZE else {owner: inside, inside: owner}
    extents = [Extent(disk, base + place, 1) for disk, place in moved.items()]
    at = 0
    for stop in (*sorted({owner, inside} & set(range(RANGE_SIZE))), RANGE_SIZE):
        extents.append(Extent(at, base + at, stop - at))
        at = stop + 1
    return IdMap(tuple(sorted((one for one in extents if one.count > 0), key=lambda one: one.inside)))


def single(uid: int, gid: int, *, inside_uid: int = 0, inside_gid: int = 0) -> IdMaps:
    return IdMaps(IdMapKind.SINGLE, IdMap((Extent(inside_uid, uid, 1),)), IdMap((Extent(inside_gid, gid, 1),)))


def ranged(uids: Extent, gids: Extent) -> IdMaps:
    return IdMaps(IdMapKind.RANGED, IdMap((uids,)), IdMap((gids,)))


def choose(*, uid: int = 0, gid: int = 0, kinds: Sequence[IdMapKind] = tuple(IdMapKind), etc: Path = Path("/etc")) -> IdMaps:
    """The best maps of *kinds* that this process may have, for a container whose program runs as *uid*, *gid*."""
    caller_uid, caller_gid = os.geteuid(), os.getegid()
    names = _own_names(caller_uid)
    uid_range = sub_ids(_read(etc / "subuid"), names=names)
    gid_range = sub_ids(_read(etc / "subgid"), names=names)
    if caller_uid == 0 and IdMapKind.RANGED in kinds:
        uids = unprivileged_range(parse_map(_read(Path("/proc/self/uid_map"))), uid_range)
        gids = unprivileged_range(parse_map(_read(Path("/proc/self/gid_map"))), gid_range)
        if uids and gids:
            return ranged(uids, gids)
    if IdMapKind.SUBIDS in kinds and caller_uid != 0 and uid_range and gid_range and newuidmap_program():
        return IdMaps(
            IdMapKind.SUBIDS,
            IdMap((Extent(0, caller_uid, 1), uid_range)),
            IdMap((Extent(0, caller_gid, 1), gid_range)),
        )
    return single(caller_uid, caller_gid, inside_uid=uid, inside_gid=gid)


def newuidmap_program() -> str | None:
    """Where shadow's newuidmap is; newgidmap lies beside it. Searched in system directories only: it is setuid."""
    for directory in ("/usr/bin", "/bin", "/usr/local/bin"):
        if os.access(f"{directory}/newuidmap", os.X_OK) and os.access(f"{directory}/newgidmap", os.X_OK):
            return f"{directory}/newuidmap"
    return None


def _own_names(uid: int) -> tuple[str, ...]:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name, str(uid)
    except KeyError:
        return (str(uid),)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # no such file, or not ours to read: nothing is granted there
        return ""
