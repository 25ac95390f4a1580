"""`USER[:GROUP]` as numbers, looked up in the passwd and group files of the running container itself.

Called by a process that is inside already: what the files say is the container's word, and parsed as such. For an image that
does not run there is `runtime.build.image_users`, with the same rules.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from runtime.errors import ContainerError

_LARGEST_FILE = 1 << 20
_LARGEST_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class UserInside:
    """Who a program in the container runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_user(user: str, *, passwd: str, group: str) -> UserInside:
    """*user* by the texts of both files. Raises ContainerError for a name that they don't have."""
    name, colon, group_name = user.partition(":")
    known = _entry(_fields(passwd, 6, (2, 3)), name or "0", f"user `{name}`")
    uid = _number(name or "0") if known is None else int(known[2])
    gid = 0 if known is None else int(known[3])
    home = "/" if known is None or not known[5].startswith("/") else known[5]
    groups = _fields(group, 4, (2,))
    if colon and group_name:
        found = _entry(groups, group_name, f"group `{group_name}`")
        return UserInside(uid, _number(group_name) if found is None else int(found[2]), (), home)
    members = {int(line[2]) for line in groups if known is not None and known[0] in line[3].split(",")}
    return UserInside(uid, gid, tuple(sorted(members - {gid})), home)


def read_text(path: str) -> str:
    """A file of the container, empty where there is none. Never waits: it may be a FIFO by now."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, _LARGEST_FILE).decode(errors="replace")
    finally:
        os.close(fd)


def _number(digits: str) -> int:
    number = int(digits)
    if number > _LARGEST_ID:
        raise ContainerError(f"no user or group can have the number {digits}")
    return number


def _entry(lines: list[list[str]], wanted: str, what: str) -> list[str] | None:
    """The line for the name or number *wanted*. None for a number that isn't there; a name has to be."""
    for line in lines:
        if line[0] == wanted or (wanted.isdecimal() and line[2] == wanted):
            return line
    if not (wanted.isascii() and wanted.isdecimal()):
        raise ContainerError(f"the container has no {what}")
    return None


def _fields(text: str, least: int, numbers: tuple[int, ...]) -> list[list[str]]:
    lines = (line.split(":") for line in text.splitlines())
    return [line for line in lines if len(line) >= least and all(_is_id(line[at]) for at in numbers)]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST_ID
