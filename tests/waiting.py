"""Waiting for something to become true, in tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(holds: Callable[[], T], what: object = "it did not happen", *, within_s: float = 60.0, every_s: float = 0.02) -> T:
    """What *holds* returns as soon as that is true. *what*, or what it returns when asked, says what was waited for in vain."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what() if callable(what) else what}"
        time.sleep(every_s)
    return found
