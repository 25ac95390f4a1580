"""The warm helpers that this user has on this machine, as /proc shows them (`launch ps --helpers`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from runtime.kernel.process_identity import age_s

HELPER_TITLE = "launch helper"
"""Of a helper, in /proc/PID/cmdline."""


class WarmHelper(NamedTuple):
    pid: int
    memory_bytes: int
    """Its share (PSS): pages that its forks have, too, count for a part."""
    age_s: float


def find_helpers() -> Iterator[WarmHelper]:
    """Those of this user that can be seen from here."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as cmdline:
                is_helper = cmdline.read().rstrip(b"\0") == HELPER_TITLE.encode()
            if is_helper and os.stat(f"/proc/{name}").st_uid == os.getuid():
                yield WarmHelper(int(name), _share_of_memory(name), age_s(int(name)))
        except OSError:
            continue  # it has ended


def _share_of_memory(pid: str) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
