"""Xid errors in the kernel log, where this user may read it (root, mostly): NVML tells only those that come while it is asked.

4,1802,934722100,-;NVRM: Xid (PCI:0000:18:00): 79, pid=4242, name=python3, GPU has fallen off the bus.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from runtime.gpu.roots import Roots

_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;.*\bNVRM: Xid \(PCI:([0-9a-fA-F:]+)\): (\d+)")
_RECORD_BYTES = 8192
_MOST_RECORDS = 100_000
_SEEN_FOR_S = 30.0


@dataclass(frozen=True, slots=True)
class LoggedXid:
    address: str
    """`0000:18:00`: the function is not told."""
    xid: int
    at: float
    """Unix seconds."""


_seen: dict[Roots, tuple[float, tuple[LoggedXid, ...]]] = {}


def logged_xids(roots: Roots) -> tuple[LoggedXid, ...]:
    """All that the log still holds, oldest first; as of half a minute ago at the latest, since thousands of records take a while
    and whoever waits for a GPU looks twice a second."""
    at, found = _seen.get(roots, (-_SEEN_FOR_S, ()))
    if time.monotonic() - at > _SEEN_FOR_S:
        found = _read(roots)
        _seen[roots] = (time.monotonic(), found)
    return found


def _read(roots: Roots) -> tuple[LoggedXid, ...]:
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    matched = (_RECORD.match(record) for record in _records(roots))
    return tuple(LoggedXid(one[2].lower(), int(one[3]), booted_at + int(one[1]) / 1e6) for one in matched if one)


def _records(roots: Roots) -> list[str]:
    """Each read(2) of /dev/kmsg gives one record (Documentation/ABI/testing/dev-kmsg)."""
    records: list[str] = []
    try:
        log = os.open(roots.dev / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return records
    try:
        while len(records) < _MOST_RECORDS:
            try:
                content = os.read(log, _RECORD_BYTES)
            except BrokenPipeError:  # it was overwritten before we came to it
                continue
            if not content:
                break
            records += content.decode(errors="replace").splitlines()
    except OSError:  # EAGAIN: that was all; or we may not
        pass
    finally:
        os.close(log)
    return records
