"""`USER[:GROUP]` of a Dockerfile or an image as numbers, looked up in passwd and group files of the image's layers.

The rules are those of Docker: USER takes a user's group from passwd and the further ones from group (runc, libcontainer/user),
`--chown=UID` alone means the group of that number (Dockerfile reference, "COPY --chown").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.build.layers_below import LayersBelow
from runtime.errors import BuildError

_LARGEST_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class User:
    """Who a program runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups."""
    home: str = "/"


def resolve_user(user: str, layers: Sequence[Path]) -> User:
    """*user*, as USER and `docker run --user` take it, in the image of *layers* (`Store.layer_dir`, bottom first); "" is root.

    Raises BuildError for a name that the image doesn't have.
    """
    below = LayersBelow(layers)
    name, colon, group = user.partition(":")
    known = _entry(_passwd(below), name or "0", what=f"user `{name}`")
    uid = _number(name or "0", user) if known is None else int(known[2])
    gid = 0 if known is None else int(known[3])
    home = "/" if known is None or not known[5] else known[5]
    if colon and group:
        found = _entry(_group(below), group, what=f"group `{group}`")
        return User(uid, _number(group, user) if found is None else int(found[2]), (), home)
    members = (line for line in _group(below) if known is not None and known[0] in line[3].split(","))
    return User(uid, gid, tuple(sorted({int(line[2]) for line in members} - {gid})) if user else (), home)


def resolve_owner(owner: str, below: LayersBelow) -> tuple[int, int]:
    """uid and gid of *owner*, as `--chown` takes it; "" is 0:0. Raises BuildError for a name that the layers don't have."""
    name, colon, group = owner.partition(":")
    uid = gid = 0
    if name:
        if name.isdecimal():
            uid = gid = _number(name, owner)
        else:
            known = _entry(_passwd(below), name, what=f"user `{name}`")
            assert known is not None
            uid, gid = int(known[2]), int(known[3])
    if colon and group:
        if group.isdecimal():
            gid = _number(group, owner)
        else:
            found = _entry(_group(below), group, what=f"group `{group}`")
            assert found is not None
            gid = int(found[2])
    return uid, gid


def _number(digits: str, user: str) -> int:
    number = int(digits)
    if number > _LARGEST_ID:
        raise BuildError(f"`{user}` has a number above {_LARGEST_ID}, which no user can have")
    return number


def _entry(lines: list[list[str]], wanted: str, *, what: str) -> list[str] | None:
    """The line for the name or number *wanted*. None for a number that isn't there; a name has to be."""
    for line in lines:
        if line[0] == wanted or (wanted.isdecimal() and line[2] == wanted):
            return line
    if not wanted.isdecimal():
        raise BuildError(f"the image has no {what}", hint="make it before it is used (`RUN useradd …`), or give numbers")
    return None


def _passwd(below: LayersBelow) -> list[list[str]]:
    lines = _fields(below.read("etc/passwd"), 6)
    return [line for line in lines if line[2].isdecimal() and line[3].isdecimal()]


def _group(below: LayersBelow) -> list[list[str]]:
    return [line for line in _fields(below.read("etc/group"), 4) if line[2].isdecimal()]


def _fields(content: bytes | None, least: int) -> list[list[str]]:
    split = (line.split(":") for line in (content or b"").decode(errors="replace").splitlines() if not line.startswith("#"))
    return [fields for fields in split if len(fields) >= least]
