"""The lock of a Debian base that a person keeps beside an experiment: `digits.base.lock`, one package a line.

No addresses: every line names an archive's role (`main`, `updates`, `security`) and a path in its pool, so that it works with
any mirror. It is written by `launch lock` and used while suite, machine and `image.apt` are those of its header.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path
from runtime.build.plan import DebPackage

_ENTRY = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]+)=(?P<version>\S+) (?P<architecture>[a-z0-9]+) (?P<archive>[a-z]+) "
    r"(?P<pool_path>pool/\S+) (?P<size>\d+) sha256:(?P<sha256>[0-9a-f]{64})"
)
_ADDED = "# on the base:"


@dataclass(frozen=True, slots=True)
class BaseLock:
    base: tuple[DebPackage, ...]
    added: tuple[DebPackage, ...]
    warning: str | None = None
    """Why the lock is not (wholly) current."""
    base_is_current: bool = True
    added_is_current: bool = True


def base_lock_text(
    base: Sequence[DebPackage], added: Sequence[DebPackage], *, suite: str, apt: Sequence[str], command: str
) -> str:
    """The lock file. *command* is how to make it again."""
    lines = [
        f"# Locked by launch; made again by: {command}",
        f"# suite: {suite}",
        f"# machine: {os.uname().machine}",
        f"# apt: {' '.join(sorted(set(apt)))}".rstrip(),
        *map(_line, base),
    ]
    if added:
        lines += [_ADDED, *map(_line, added)]
    return "\n".join(lines) + "\n"


def read_base_lock(path: Path, *, suite: str, apt: Sequence[str]) -> BaseLock | None:
    """The lock in *path*; None when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    header = dict(re.findall(r"^# (suite|image|machine|apt): ?(.*)$", text, re.MULTILINE))
    name = f"the lock `{shown_path(path)}`"
    why = _drift(header, suite=suite)
    if why is not None:
        warning = f"{name} has drifted and is not used: {why} (`launch lock` makes it again)"
        return BaseLock((), (), warning, base_is_current=False, added_is_current=False)
    packages: tuple[list[DebPackage], list[DebPackage]] = ([], [])
    into = packages[0]
    for number, line in enumerate(text.splitlines(), start=1):
        if line == _ADDED:
            into = packages[1]
        elif line and not line.startswith("#"):
            into.append(_parse(line, path, number))
    if header.get("apt", "").split() == sorted(set(apt)):
        return BaseLock(tuple(packages[0]), tuple(packages[1]))
    warning = f"{name} was made for another `image.apt`: only its base is used (`launch lock` makes it again)"
    return BaseLock(tuple(packages[0]), (), warning, added_is_current=False)


def _drift(header: dict[str, str], *, suite: str) -> str | None:
    if header.get("suite") != suite:
        return f"it is for {header.get('suite') or header.get('image')}, the base is {suite}"
    if header.get("machine") != os.uname().machine:
        return f"it is for {header.get('machine')}, this machine is {os.uname().machine}"
    return None


def _line(deb: DebPackage) -> str:
    return f"{deb.name}={deb.version} {deb.architecture} {deb.archive} {deb.pool_path} {deb.size} sha256:{deb.sha256}"


def _parse(line: str, path: Path, number: int) -> DebPackage:
    found = _ENTRY.fullmatch(line)
    # The path goes into an address and must not leave the pool.
    if found is None or ".." in found["pool_path"].split("/"):
        hint = "make it again with `launch lock`, or remove it"
        raise ConfigError("this line of the base's lock is damaged", origin=Origin(file=str(path), line=number), hint=hint)
    return DebPackage(
        name=found["name"],
        version=found["version"],
        architecture=found["architecture"],
        archive=found["archive"],
        pool_path=found["pool_path"],
        size=int(found["size"]),
        sha256=found["sha256"],
    )
