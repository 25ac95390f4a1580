"""What a harness is: one reader of foreign bytes as a function of bytes, and the errors that are its own.

Anything else that comes out of a reader is a finding: another exception, more than `MOST_CPU_S` of processor time, or (in a long
run, where libFuzzer looks) more memory than a reader may take. `harnesses.py` lists all of them; the tests and the long run use
the same list.
"""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from damage import damaged_bytes, damaged_json

MOST_CPU_S = 5.0
"""No honest input of a few kilobytes takes a hundredth of it."""

FOUND = Path(__file__).parent / "found"


class Harness(NamedTuple):
    name: str
    read: Callable[[bytes], object]
    refuses_with: tuple[type[Exception], ...]
    """The reader's own errors: what it says of content that it doesn't take."""
    seeds: tuple[bytes, ...]
    """Inputs that the reader takes: what is tried begins as one of them."""
    words: tuple[bytes, ...] = ()
    """Words of the format that chance would hardly make."""
    is_json: bool = False
    """Whether inputs are JSON: then values are exchanged, and not only bytes."""

    def check(self, content: bytes) -> None:
        """Read *content*. Raises what is a finding."""
        with _limited_cpu():
            try:
                self.read(content)
            except self.refuses_with as refusal:
                str(refusal)  # its words have to be sayable, too

    def damaged(self, content: bytes, chance: random.Random) -> bytes:
        """*content* with a few things changed by *chance*."""
        if self.is_json and chance.random() < 0.8:
            return damaged_json(content, chance)
        return damaged_bytes(content, chance, self.words)

    def found(self) -> list[Path]:
        """Inputs that were findings once."""
        directory = FOUND / file_name(self.name)
        return sorted(directory.iterdir()) if directory.is_dir() else []


def file_name(name: str) -> str:
    """*name* of a harness as that of a directory."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


class TooSlow(Exception):
    """A reader took more processor time than a small input is worth."""


@contextmanager
def _limited_cpu() -> Iterator[None]:
    before: Any = signal.signal(signal.SIGVTALRM, _raise_too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _raise_too_slow(_signum: int, _frame: FrameType | None) -> None:
    raise TooSlow(f"more than {MOST_CPU_S:g} s of processor time")
