"""GPU leases: flocks held by the run's supervisor and its container's init, never by the program.

The kernel frees a lock when its last holder dies, whatever kills it: no stale locks, no cleaner, no daemon. Identity is the
UUID (an AMD GPU's or a MIG instance's too), and the locks of one device are

    UUID            exclusively: the whole device. Shared: parts of it are leased
    UUID.slot0…19   exclusively, one for each twentieth of a GPU that is leased in parts
    UUID of a MIG instance   exclusively, with its GPU's UUID shared

so that a whole GPU and its parts exclude one another. Which devices to take is `launcher.schedule`'s business.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.errors import GpuError
from runtime.gpu.leases.lock_files import is_held, lease_dir, lock_path, read_hint, try_lock, write_hint
from runtime.light_dataclasses import dataclass

SLOTS = 20
"""Of a GPU that is leased in parts: quarters, fifths and tenths are whole numbers of slots."""

_MUTEX = "queue"
_MUTEX_STEP_S = 0.004


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, as far as it told: anybody could have written that, only the lock itself is true."""

    run: str | None = None
    user: str | None = None
    pid: int | None = None
    since: float | None = None
    """Unix seconds."""
    until: float | None = None
    """When it ends at the latest, for a run with a timeout."""
    slots: int = SLOTS


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to lease."""

    uuid: str
    parent: str | None = None
    """The GPU of a MIG instance."""
    slots: int = SLOTS
    """Fewer than SLOTS: a part of the GPU."""


@dataclass(frozen=True, slots=True)
class GpuLease:
    """Held devices: sorted UUIDs, the descriptors that hold them, and how much of each."""

    uuids: tuple[str, ...]
    fds: tuple[int, ...]
    shares: tuple[float, ...] = ()
    """Of each device: 1.0 for a whole one."""
    memory_bytes: tuple[int, ...] = ()
    """Of each device's memory, what goes with the share."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How a device is leased now."""

    holders: tuple[Holder, ...] = ()
    free_slots: int = SLOTS
    in_parts: bool = False
    """Parts of it are leased: slots, or MIG instances."""
    last_used: float = 0.0
    """When its lock was last taken; 0 for never."""


@contextmanager
def placement_lock(directory: Path, *, patience_s: float = 20.0) -> Iterator[None]:
    """Hold the machine's one mutex for looking and taking, for milliseconds: what was seen free is still free when it is taken.

    Opened read-only, so that nobody who waits wakes up from it. Raises GpuError when a holder doesn't give it back (stopped).
    """
    path = lock_path(directory, _MUTEX)
    deadline = time.monotonic() + patience_s
    while (fd := try_lock(path, quietly=True)) is None:
        if time.monotonic() > deadline:
            raise GpuError(
                f"`{path}` has been locked for {patience_s:.0f} s, which should take milliseconds",
                hint=f"a stopped process holds it; `fuser -v {path}` names it",
            )
        time.sleep(_MUTEX_STEP_S)
    try:
        yield
    finally:
        os.close(fd)


def take(directory: Path, units: Iterable[Unit], holder: dict[str, Any]) -> GpuLease | None:
    """Lease *units*, all or none; None when one of them is not free. *holder* is what others read (fields of Holder)."""
    wanted = sorted(units, key=lambda unit: unit.uuid)
    taken: list[int] = []
    for unit in wanted:
        fds = _parts_of(directory, unit, holder) if unit.slots < SLOTS else _whole(directory, unit, holder)
        if not fds:
            _close(taken)
            return None
        taken += fds
    return GpuLease(tuple(unit.uuid for unit in wanted), tuple(taken), tuple(unit.slots / SLOTS for unit in wanted))


def release(lease: GpuLease) -> None:
    """Free the leased devices for everybody, also when another process has inherited a descriptor; all of them at one moment.

    For a lease whose container has ended. A holder that can't be sure of that closes its descriptors and leaves the rest to init.
    """
    with ExitStack() as at_one_moment:
        with suppress(GpuError):  # a mutex that nobody gives back is no reason to keep the devices
            at_one_moment.enter_context(placement_lock(lease_dir()))
        for fd in lease.fds:
            with suppress(OSError):
                os.ftruncate(fd, 0)
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def occupancy(directory: Path, uuid: str) -> Occupancy:
    """How *uuid* is leased. Exact while the caller is `placement_lock`."""
    path = lock_path(directory, uuid)
    try:
        last_used = path.stat().st_mtime
    except OSError:
        return Occupancy()
    if is_held(path):
        return Occupancy((_holder(path),), free_slots=0, last_used=last_used)
    if not is_held(path, also_shared=True):
        return Occupancy(last_used=last_used)
    held = [slot for slot in _slot_paths(directory, uuid) if is_held(slot)]
    by_run: dict[Holder, int] = {}
    for slot in held:
        holder = _holder(slot)
        by_run[holder] = by_run.get(holder, 0) + 1
    holders = tuple(Holder(h.run, h.user, h.pid, h.since, h.until, slots) for h, slots in by_run.items())
    return Occupancy(holders, SLOTS - len(held), in_parts=True, last_used=last_used)


def holders(uuids: Sequence[str]) -> dict[str, tuple[Holder, ...]]:
    """Who holds which of *uuids* now; those that nobody holds are left out."""
    directory = lease_dir()
    with placement_lock(directory):
        seen = {uuid: occupancy(directory, uuid) for uuid in uuids}
    return {uuid: found.holders for uuid, found in seen.items() if found.holders}


def _whole(directory: Path, unit: Unit, holder: dict[str, Any]) -> list[int]:
    """The descriptors that hold a GPU, or a MIG instance and its GPU for company; none when it isn't free."""
    common = [] if unit.parent is None else _common(directory, unit.parent)
    own = try_lock(lock_path(directory, unit.uuid)) if common or unit.parent is None else None
    if own is None:
        _close(common)
        return []
    write_hint(own, holder)
    return [own, *common]


def _parts_of(directory: Path, unit: Unit, holder: dict[str, Any]) -> list[int]:
    """The descriptors that hold as many slots as *unit* has, and their GPU for company; none when fewer are free."""
    common = _common(directory, unit.uuid)
    slots: list[int] = []
    # A held slot is not even opened for writing: closing it again would wake everybody who waits.
    free = (slot for slot in _slot_paths(directory, unit.uuid) if common and not is_held(slot))
    for slot in free:
        fd = try_lock(slot)
        slots += [] if fd is None else [fd]
        if len(slots) == unit.slots:
            break
    if len(slots) < unit.slots:
        _close([*slots, *common])
        return []
    for fd in slots:
        write_hint(fd, holder)
    return [*slots, *common]


def _common(directory: Path, uuid: str) -> list[int]:
    """The lock of *uuid*, shared with others who take a part of it; nothing when somebody has the whole."""
    fd = try_lock(lock_path(directory, uuid), shared=True)
    if fd is None:
        return []
    os.utime(fd)  # its time is when it was last used
    return [fd]


def _slot_paths(directory: Path, uuid: str) -> list[Path]:
    return [lock_path(directory, f"{uuid}.slot{number}") for number in range(SLOTS)]


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _holder(path: Path) -> Holder:
    """What stands in the file of a held lock; what is not of our kind counts as not told."""
    hint = read_hint(path)
    return Holder(
        run=hint.text("run"),
        user=hint.text("user"),
        pid=hint.whole("pid"),
        since=hint.seconds("since"),
        until=hint.seconds("until"),
    )
