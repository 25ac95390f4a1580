"""GPU leases: an flock per UUID, held by the run's supervisor and its container's init, never by the program.

The kernel frees it when the last holder dies, whatever kills it: no stale locks, no cleaner, no daemon. It works between users:
files are 0666 in a sticky directory and never deleted; their content is a hint for people, the lock is the truth.
Opened without O_CREAT first, since fs.protected_regular=2 refuses O_CREAT on another user's file in a sticky directory.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import GpuError

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class GpuLease:
    """Held GPUs: sorted UUIDs, and one descriptor for each."""

    uuids: tuple[str, ...]
    fds: tuple[int, ...]


def lease_dir() -> Path:
    """`LAUNCH_LEASE_DIR`, else `/run/lock/gpu-leases`, else `/dev/shm/gpu-leases-v1` where the first can't be made."""
    named = os.environ.get("LAUNCH_LEASE_DIR")
    for candidate in [Path(named)] if named else [Path("/run/lock/gpu-leases"), Path("/dev/shm/gpu-leases-v1")]:
        try:
            candidate.mkdir(mode=0o1777)
            candidate.chmod(0o1777)
        except FileExistsError:
            return candidate
        except OSError:
            continue
        return candidate
    raise GpuError("no directory for GPU leases can be made", hint="name one on a local file system in LAUNCH_LEASE_DIR")


@contextmanager
def lease_gpus(
    candidates: Callable[[], Sequence[str]],
    count: int,
    *,
    holder: str,
    waiting: Callable[[], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[GpuLease]:
    """Hold *count* of the UUIDs that *candidates* offers (asked again while waiting, best first); all or none.

    One waiter at a time stands at the head of the line, holding `queue.lock`. *waiting* is called once if we must wait, *pause*
    between two tries, with seconds: it may raise to give up, and then nothing is held.
    """
    lease = _wait_in_line(lease_dir(), candidates, count, holder, waiting or _nothing, pause)
    try:
        yield lease
    finally:
        for fd in lease.fds:
            os.close(fd)


def _wait_in_line(
    directory: Path,
    candidates: Callable[[], Sequence[str]],
    count: int,
    holder: str,
    waiting: Callable[[], None],
    pause: Callable[[float], None],
) -> GpuLease:
    head: int | None = None
    tell = waiting
    try:
        while True:
            head = _grab(directory, "queue") if head is None else head
            lease = None if head is None else _take(directory, candidates(), count, holder)
            if lease is not None:
                return lease
            tell()
            tell = _nothing
            pause(_POLL_S)
    finally:
        if head is not None:
            os.close(head)


def _nothing() -> None:
    """Said already."""


def holders(uuids: Sequence[str]) -> dict[str, dict[str, object]]:
    """Who holds which of *uuids* now: `{uuid: {pid, uid, run, since}}`, as far as the holders wrote it."""
    held: dict[str, dict[str, object]] = {}
    directory = lease_dir()
    for uuid in uuids:
        fd = _grab(directory, uuid)
        if fd is not None:
            os.close(fd)
            continue
        try:
            held[uuid] = json.loads((directory / f"{uuid}.lock").read_text())
        except (OSError, ValueError):
            held[uuid] = {}
    return held


def _take(directory: Path, candidates: Sequence[str], count: int, holder: str) -> GpuLease | None:
    taken: list[tuple[str, int]] = []
    for uuid in candidates:
        if len(taken) == count:
            break
        fd = _grab(directory, uuid)
        if fd is not None:
            taken.append((uuid, fd))
    if len(taken) < count:
        for _uuid, fd in taken:
            os.close(fd)
        return None
    for _uuid, fd in taken:
        content = json.dumps({"pid": os.getpid(), "uid": os.getuid(), "run": holder, "since": time.time()})
        os.ftruncate(fd, 0)
        os.pwrite(fd, content.encode(), 0)
    taken.sort()
    return GpuLease(tuple(uuid for uuid, _fd in taken), tuple(fd for _uuid, fd in taken))


def _grab(directory: Path, uuid: str) -> int | None:
    """An open descriptor that holds the lock of *uuid*, or None when somebody else does."""
    path = directory / f"{uuid}.lock"
    fd = _open_shared(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == os.stat(path).st_ino:
            return fd
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            os.close(fd)
            raise
    os.close(fd)
    return None


def _open_shared(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags)
    os.fchmod(fd, 0o666)
    return fd
