"""How things look: errors, sizes, durations, tables, colour. Ours goes to stderr; stdout is only for data.

Plain text with ANSI codes where stderr is a terminal, or as NO_COLOR and FORCE_COLOR say; rich draws only in `progress.py` and
`sweep/view.py`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from runtime.plurals import size_words

if TYPE_CHECKING:
    from datetime import datetime

size = size_words
"""Bytes for people."""

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}


_SENT = re.compile(
    rf"\x1b\[(?:0|{'|'.join(_CODES.values())})m"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Our own colours; and what else would move a terminal's cursor, its title, the order of letters, or is no text at all."""


def escaped(text: str) -> str:
    """*text* as a terminal, or a log that somebody shows on one, may get it: foreign names are in it."""
    return text if text.isprintable() else _SENT.sub(_as_written, text)


def _as_written(found: re.Match[str]) -> str:
    code = ord(found[0][0])
    if len(found[0]) > 1:
        return found[0]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte of a name that is not UTF-8
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


class EscapedText:
    """A standard stream of ours: whatever is printed, by whichever function, goes through `escaped`. What fills a screen writes
    to `screen`, and programs' own output to the descriptor."""

    def __init__(self, screen: TextIO) -> None:
        self.screen = screen

    def write(self, text: str) -> int:
        return self.screen.write(escaped(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.screen, name)


@contextmanager
def escaped_streams() -> Iterator[None]:
    """The body prints through `EscapedText`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, EscapedText(sys.stdout)), cast(TextIO, EscapedText(sys.stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def screen(stream: TextIO) -> TextIO:
    """*stream* for those who move the cursor."""
    return stream.screen if isinstance(stream, EscapedText) else stream


def wants_color(stream: TextIO) -> bool:
    """Also where no terminal is, if FORCE_COLOR is not empty; never if NO_COLOR is not (force-color.org, no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


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


def section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """*lines* below their title; nothing without lines."""
    if lines:
        yield f"{title}:"
        yield from (f"  {printable(line)}" for line in lines)


def change(name: str, before: str | None, after: str | None) -> str:
    """`~ name before → after`; `+ name after` and `- name before` where one of the two has none."""
    return f"{sign(before, after)} {name} {' → '.join(value for value in (before, after) if value is not None)}".rstrip()


def sign(before: object, after: object) -> str:
    return "+" if before is None else "-" if after is None else "~"


def printable(text: str) -> str:
    """*text* that came with an image: what would move the cursor or change the colour is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def home_relative(path: object) -> str:
    """*path* with `~` for the home directory."""
    text, home = str(path), os.path.expanduser("~")
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text
