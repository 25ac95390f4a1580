"""The files that leases and places in the queue are locks on: one directory, shared by all users of a machine.

Every file is 0666 in a sticky directory and never deleted. An flock(2) on it is the truth; what is written in it is a hint for
people. It is opened without O_CREAT first, since fs.protected_regular=2 refuses O_CREAT on another user's file in a sticky
directory; and a new one appears under its name with its mode already, so that whoever dies in between shuts nobody out.

Whoever only looks opens read-only: closing a descriptor that could write is what wakes those who wait (inotify, IN_CLOSE_WRITE).
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.errors import GpuError

_PLACES = (Path("/run/lock/gpu-leases"), Path("/dev/shm/gpu-leases-v1"))
_LONGEST_TEXT = 100
_LARGEST = 1 << 62


def lease_dir(usual: Sequence[Path] = _PLACES) -> Path:
    """`LAUNCH_LEASE_DIR`, else the first of *usual* that is there or can be made.

    Made for all users by the first of them. One that is there goes before one that could be made: else root and an ordinary
    user, who may not write to /run/lock everywhere, would keep two sets of leases.
    """
    named = os.environ.get("LAUNCH_LEASE_DIR")
    places = (Path(named),) if named else usual
    for place in places:
        if _is_directory(place) or (named and place.is_dir()):
            return place
    tried = []
    for place in places:
        try:
            return _make_directory(place)
        except OSError as error:
            tried.append(f"`{place}` ({os.strerror(error.errno or 0).lower()})")
    raise GpuError(
        f"no directory for GPU leases can be made: tried {', '.join(tried)}",
        hint="name one on a local file system in LAUNCH_LEASE_DIR; all users of the machine need the same",
    )


def _make_directory(place: Path) -> Path:
    """*place* appears with its mode: others may come the moment it is there."""
    fresh = _temporary_name(place.parent)
    fresh.mkdir()
    try:
        fresh.chmod(0o1777)
        fresh.rename(place)
    except OSError:
        fresh.rmdir()
        if not _is_directory(place):  # nobody was faster
            raise
    return place


def _is_directory(place: Path) -> bool:
    """And no link to one: anybody may put a link there, and root shall not follow it."""
    try:
        return stat.S_ISDIR(place.lstat().st_mode)
    except OSError:
        return False


def lock_path(directory: Path, name: str) -> Path:
    """The file for *name*: a UUID as the driver gives it, a slot, a place in the queue."""
    return directory / f"{''.join(c if c.isalnum() or c in '-._' else '_' for c in name)}.lock"


def try_lock(path: Path, *, shared: bool = False, quietly: bool = False) -> int | None:
    """A descriptor that holds the lock of *path* (made when missing), or None when somebody else does.

    *quietly*: taking and leaving it shall wake nobody; nothing can be written through the descriptor then.
    """
    fd = _open(path, os.O_RDONLY if quietly else os.O_RDWR)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == os.stat(path).st_ino:
            return fd
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            os.close(fd)
            raise
    os.close(fd)  # held, or somebody replaced the file
    return None


def is_held(path: Path, *, also_shared: bool = False) -> bool:
    """Whether some process holds an exclusive lock on *path*; with *also_shared*, any lock. A missing file is not held."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if also_shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_hint(fd: int, document: dict[str, Any]) -> None:
    """What people shall read of the lock that *fd* holds; nothing on a full file system: the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(document).encode(), 0)


class UntrustedFields:
    """Values out of what stands in a lock's file: any user of the machine may have written anything there, so each is taken or
    left."""

    def __init__(self, document: Any) -> None:
        """What is no JSON object has no fields."""
        self._document: dict[str, Any] = document if isinstance(document, dict) else {}

    def raw(self, name: str) -> Any:
        return self._document.get(name)

    def fields(self, name: str) -> UntrustedFields:
        """An object within this one; without fields where there is none."""
        return UntrustedFields(self.raw(name))

    def text(self, name: str) -> str | None:
        """Printable: a run's "name" could move the cursor of whoever looks."""
        value = self.raw(name)
        if not isinstance(value, str):
            return None
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value[:_LONGEST_TEXT])

    def whole(self, name: str) -> int | None:
        value = self.raw(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else None

    def seconds(self, name: str) -> float | None:
        """A moment or a duration."""
        value = self.raw(name)
        if isinstance(value, int):
            value = self.whole(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) and abs(value) < _LARGEST else None


def read_hint(path: Path) -> UntrustedFields:
    """What the holder of *path* wrote."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return UntrustedFields(None)
    try:
        return UntrustedFields(json.loads(os.read(fd, 1 << 16)))
    except (OSError, ValueError, RecursionError):
        return UntrustedFields(None)
    finally:
        os.close(fd)


def _open(path: Path, access: int) -> int:
    flags = access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:
            _make(path)
            fd = os.open(path, flags)
    except OSError as error:
        raise GpuError(
            f"cannot open the lease file `{path}`: {os.strerror(error.errno or 0).lower()}",
            hint="every user must be able to write in that directory and to its files; LAUNCH_LEASE_DIR names another one",
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise GpuError(f"`{path}` is in the place of a lease file and is not a regular file", hint="remove it")
    return fd


def _make(path: Path) -> None:
    fresh = _temporary_name(path.parent)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o666)
        os.close(fd)
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        os.unlink(fresh)


def _temporary_name(directory: Path) -> Path:
    return directory / f".new-{os.getpid()}-{time.monotonic_ns()}"
