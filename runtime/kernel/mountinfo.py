"""Lines of /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.light_typing import NamedTuple


class MountLine(NamedTuple):
    """One mount."""

    root: str
    """The path in its file system that is visible at *point*."""
    point: str
    options: tuple[str, ...]
    """Of the mount."""
    type: str
    source: str
    super_options: tuple[str, ...]
    """Of the file system."""


def parse_mountinfo(text: str) -> Iterator[MountLine]:
    """Every mount in *text*, in its order: a later one at the same place hides the others."""
    for line in text.splitlines():
        # Between the options of the mount and ` - ` stand any number of tags (`shared:1`).
        before, separator, after = line.partition(" - ")
        if separator:
            fields, (kind, source, super_options) = before.split(" "), after.split(" ")[:3]
            yield MountLine(
                _unescape(fields[3]),
                _unescape(fields[4]),
                tuple(fields[5].split(",")),
                kind,
                source,
                tuple(super_options.split(",")),
            )


def _unescape(path: str) -> str:
    """Blank, tab, newline and backslash are written as octal; all else as it is, in whatever script."""
    if "\\" in path:
        for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            path = path.replace(octal, character)
    return path
