"""How things look: errors, sizes, durations, tables, colour. Ours goes to stderr; stdout is only for data.

Plain text with ANSI codes where stderr is a terminal and NO_COLOR is not set; rich draws only in `progress.py` and
`sweep/view.py`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from datetime import datetime

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}


def wants_color(stream: TextIO) -> bool:
    """https://no-color.org: any non-empty NO_COLOR turns colour off."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    if not wants_color(stream or sys.stderr):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def say(text: str) -> None:
    """A line of ours for the person who watches; who can't be reached (a full disk, a closed pipe) is not told so."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    say(f"{styled('warning', 'yellow')}: {text}")


def print_error(message: str, *, hint: str | None, origin: object | None, notes: Iterable[str] = ()) -> None:
    """`error: …`, where it came from, and what to do about it."""
    lines = [f"{styled('error', 'red')}: {message}"]
    if origin is not None:
        lines.append(f"  --> {origin}")
    lines.extend(f"  note: {note}" for note in notes)
    if hint:
        lines.extend(["", f"{styled('hint', 'cyan')}: {hint}"])
    say("\n".join(lines))


def print_json(document: object, *, ensure_ascii: bool = True) -> None:
    """*document* on stdout, for programs."""
    import json

    json.dump(document, sys.stdout, indent=2, ensure_ascii=ensure_ascii)
    print()


def size(count: float) -> str:
    """Bytes for people: `41 KB`, `1.2 GB` (decimal, as disks and networks count)."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """`0.04 s`, `12.4 s`, `3 m 05 s`, `2 h 07 m`."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} m"


def moment(at: datetime) -> str:
    """In the time zone of who reads it: `2026-11-25 01:04:12`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at.timestamp()))


def number(value: float) -> str:
    """A metric for people: six significant digits."""
    return f"{value:.6g}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns, left-aligned, two spaces between them, no trailing blanks."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([styled(lines[0], "dim", sys.stdout), *lines[1:]])


def printable(text: str) -> str:
    """*text* that came with an image: what would move the cursor or change the colour is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def home_relative(path: object) -> str:
    """*path* with `~` for the home directory."""
    text, home = str(path), os.path.expanduser("~")
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text
