"""Waiting for something to become true, in tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(holds: Callable[[], T], what: object = "it did not happen", *, within_s: float = 60.0, every_s: float = 0.02) -> T:
    """What *holds* returns as soon as that is true. *what*, or what it returns when asked, says what was waited for in vain.

    A look that took longer than *every_s*, a command say, is followed by a pause as long: others have to do what is waited for.
    """
    deadline = time.monotonic() + within_s
    while True:
        began = time.monotonic()
        if found := holds():
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what() if callable(what) else what}"
        time.sleep(max(every_s, time.monotonic() - began))
