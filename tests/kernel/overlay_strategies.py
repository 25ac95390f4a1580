"""Which strategies of the overlay this kernel has. Apart from `userland.py`, which runs without pytest too."""

from __future__ import annotations

import os
import re

import pytest

from runtime.rootfs.overlay import OverlayStrategy


def skip_unless_here(strategy: OverlayStrategy) -> None:
    """Skip where the kernel is older than *strategy*; a launch tries the next one by itself there."""
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    needed = (6, 15) if strategy is OverlayStrategy.DESCRIPTORS else (0, 0)
    if release < needed:
        pytest.skip(f"Linux {'.'.join(map(str, release))} can't stack {strategy}")
