"""Which rungs of the overlay's ladder this kernel has. Apart from `userland.py`, which runs without pytest too."""

from __future__ import annotations

import os
import re

import pytest

from runtime.rootfs.overlay import Rung


def skip_unless_here(rung: Rung) -> None:
    """Skip where the kernel is older than *rung*; a launch goes down the ladder by itself there."""
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    needed = {Rung.DESCRIPTORS: (6, 15), Rung.ATTACHED: (6, 7)}.get(rung, (0, 0))
    if release < needed:
        pytest.skip(f"Linux {'.'.join(map(str, release))} can't stack {rung}")
