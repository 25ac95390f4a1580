"""Keys pressed at the terminal while something is watched, without Enter and without showing them. No terminal: no keys."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.cli.terminal import single_keys


class Keys:
    """What is typed at *terminal*; None: nothing ever is."""

    def __init__(self, terminal: int | None) -> None:
        self._terminal = terminal

    def pressed(self, key: str, *, within_s: float) -> bool:
        """Wait for *within_s* seconds, or until *key* is pressed."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            if self._terminal is None:
                time.sleep(left)
            elif select.select([self._terminal], [], [], left)[0]:
                typed = os.read(self._terminal, 64)
                if not typed or key.encode() in typed:
                    return True
        return False


@contextmanager
def typed_keys() -> Iterator[Keys]:
    """The keys of standard input where it is a terminal that is ours: in the background they are somebody else's."""
    if not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        yield Keys(None)
        return
    with single_keys(sys.stdin.fileno()):
        yield Keys(sys.stdin.fileno())
