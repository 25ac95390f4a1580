"""Numbers with their nouns, and lists that may be long, in messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: float, noun: str) -> str:
    """`1 file`, `2 files`, `0.5 cpus`."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def size_words(count: float) -> str:
    """Bytes for people: `41 KB`, `1.2 GB` (decimal, as disks and networks count)."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def first_few(words: Sequence[str], *, most: int) -> str:
    """`a, b and 3 more`."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")
