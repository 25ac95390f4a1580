"""How paths are written in /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations


def unescaped(path: str) -> str:
    """Blank, tab, newline and backslash are written as octal; all else as it is, in whatever script."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(octal, character)
    return path
