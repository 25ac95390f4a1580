"""`USER[:GROUP]` as numbers, by the passwd(5) and group(5) of a running container or of an image's layers.

The rules are Docker's: `docker run --user` takes a user's group from passwd and the further ones from group (runc,
libcontainer/user), `--chown=UID` alone means the group of that number (Dockerfile reference, "COPY --chown"). A user's own group
is among the further ones, so that no set-group-ID program gets around what a file denies that group (CVE-2022-36109). The files
are an image's: a line that is none, or has a number that no user can have, counts as not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from runtime.kernel.safe_open import read_in_root
from runtime.light_typing import NamedTuple

_LARGEST_ID = (1 << 31) - 1


class User(NamedTuple):
    """Who a program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups, *gid* first."""
    home: str = "/"


class UnknownName(Exception):
    """The files don't have it; the text is what: `user `ada``."""


class Accounts:
    """The users and groups of *read*, which gives the content of a file below the root; None when there is none."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read

    def user(self, user: str) -> User:
        """*user*, as `docker run --user` takes it; "" is root. Raises UnknownName."""
        name, colon, group = user.partition(":")
        known = _entry(self._passwd(), name or "0", f"user `{name}`")
        uid = _number(name or "0") if known is None else int(known[2])
        gid = 0 if known is None else int(known[3])
        home = known[5] if known is not None and known[5].startswith("/") else "/"
        if colon and group:
            gid = self._group_number(group)
            return User(uid, gid, (gid,), home)
        member_of = {int(line[2]) for line in self._groups() if known is not None and known[0] in line[3].split(",")}
        return User(uid, gid, (gid, *(sorted(member_of - {gid}) if user else ())), home)

    def owner(self, owner: str) -> tuple[int, int]:
        """uid and gid of *owner*, as `--chown` takes it; "" is 0:0. Raises UnknownName."""
        name, colon, group = owner.partition(":")
        uid = gid = 0
        if name:
            known = None if name.isdecimal() else _entry(self._passwd(), name, f"user `{name}`")
            uid, gid = (_number(name), _number(name)) if known is None else (int(known[2]), int(known[3]))
        if colon and group:
            gid = _number(group) if group.isdecimal() else self._group_number(group)
        return uid, gid

    def home_of(self, uid: int) -> str | None:
        """The home directory of *uid*; None when no line says."""
        return next((line[5] for line in self._passwd() if int(line[2]) == uid and line[5]), None)

    def _group_number(self, group: str) -> int:
        known = _entry(self._groups(), group, f"group `{group}`")
        return _number(group) if known is None else int(known[2])

    def _passwd(self) -> list[list[str]]:
        return _lines(self._read("etc/passwd"), 6, numbers=(2, 3))

    def _groups(self) -> list[list[str]]:
        return _lines(self._read("etc/group"), 4, numbers=(2,))


def read_below_root(path: str) -> bytes | None:
    """For a process in a container: the file *path* of its root. None when there is none, or it is no file that can be read."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return read_in_root(root, path)
    except OSError:
        return None
    finally:
        os.close(root)


def _number(digits: str) -> int:
    number = int(digits)
    if number > _LARGEST_ID:
        raise UnknownName(f"user or group {digits}: no number is above {_LARGEST_ID}")
    return number


def _entry(lines: list[list[str]], wanted: str, what: str) -> list[str] | None:
    """The line for the name or number *wanted*. None for a number that isn't there; a name has to be."""
    is_number = wanted.isascii() and wanted.isdecimal()
    for line in lines:
        if line[0] == wanted or (is_number and line[2] == wanted):
            return line
    if not is_number:
        raise UnknownName(what)
    return None


def _lines(content: bytes | None, least: int, *, numbers: tuple[int, ...]) -> list[list[str]]:
    split = (line.split(":") for line in (content or b"").decode(errors="replace").splitlines() if not line.startswith("#"))
    return [fields for fields in split if len(fields) >= least and all(_is_id(fields[at]) for at in numbers)]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST_ID
