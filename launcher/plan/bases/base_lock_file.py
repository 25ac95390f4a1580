"""The lock of a base that a person keeps beside an experiment: `digits.base.lock`, written by `launch lock`.

Of a Debian base one package a line, and one for a Python of uv's. No addresses: every line names an archive's role (`main`,
`updates`, `security`) and a path in its pool, or a release of uv's Pythons, so that it works with any mirror. It is used while
suite, machine and `image.apt` are those of its header. Of a registry's image one line with its digest, which docker and podman
take as it is:

    # Locked by launch; made again by: launch lock experiment=NAME
    # image: python:3.12-slim
    # machine: x86_64
    docker.io/library/python:3.12-slim@sha256:…
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launcher.errors import ConfigError, Origin
from launcher.plan.bases.managed_python import ManagedPython
from launcher.plan.origins import shown_path
from runtime.build.plan import DebPackage, minor_of
from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass
from runtime.oci.reference import Remote, parse_reference

_ENTRY = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]+)=(?P<version>\S+) (?P<architecture>[a-z0-9]+) (?P<archive>[a-z]+) "
    r"(?P<pool_path>pool/\S+) (?P<size>\d+) sha256:(?P<sha256>[0-9a-f]{64})"
)
_PYTHON = re.compile(r"uv-python=(?P<version>3\.\d+\.\d+) (?P<file>[\w.+%-]+/[\w.+%-]+) sha256:(?P<sha256>[0-9a-f]{64})")
_ADDED = "# on the base:"


@dataclass(frozen=True, slots=True)
class BaseLock:
    """The lock of a Debian base."""

    base: tuple[DebPackage, ...]
    added: tuple[DebPackage, ...]
    warning: str | None = None
    """Why the lock is not (wholly) current."""
    base_is_current: bool = True
    added_is_current: bool = True


@dataclass(frozen=True, slots=True)
class ImageLock:
    """The lock of a registry's image."""

    pinned: str | None
    """The reference with its digest; None: the lock is for something else."""
    warnings: tuple[str, ...] = ()


class LockedPython(NamedTuple):
    """A Python of uv's in the lock of a Debian base."""

    python: ManagedPython
    """Its address has no root."""
    base: str
    """`bootstrap:debian/trixie`"""


def base_lock_text(
    base: Sequence[DebPackage],
    added: Sequence[DebPackage],
    *,
    suite: str,
    apt: Sequence[str],
    command: str,
    python: ManagedPython | None = None,
) -> str:
    """The lock file of a Debian base. *command* is how to make it again."""
    lines = [*_head(command, f"suite: {suite}"), f"# apt: {' '.join(sorted(set(apt)))}".rstrip(), *map(_line, base)]
    if python is not None:
        lines.append(f"uv-python={python.version} {python.file} sha256:{python.sha256}")
    if added:
        lines += [_ADDED, *map(_line, added)]
    return "\n".join(lines) + "\n"


def image_lock_text(reference: str, pinned: str, *, command: str) -> str:
    """The lock file of a registry's image. *command* is how to make it again."""
    return "\n".join([*_head(command, f"image: {reference}"), pinned]) + "\n"


def _head(command: str, base: str) -> list[str]:
    return [f"# Locked by launch; made again by: {command}", f"# {base}", f"# machine: {os.uname().machine}"]


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def read_base_lock(path: Path, *, suite: str, apt: Sequence[str]) -> BaseLock | None:
    """The lock in *path* for the Debian *suite*; None when there is no such file."""
    text = _text_of(path)
    if text is None:
        return None
    header, warning = _header(path, text, kind="suite", base=suite)
    if warning is not None:
        return BaseLock((), (), warning, base_is_current=False, added_is_current=False)
    packages: tuple[list[DebPackage], list[DebPackage]] = ([], [])
    into = packages[0]
    for number, line in enumerate(text.splitlines(), start=1):
        if line == _ADDED:
            into = packages[1]
        elif line and not line.startswith(("#", "uv-python=")):
            into.append(_parse(line, path, number))
    if header.get("apt", "").split() == sorted(set(apt)):
        return BaseLock(tuple(packages[0]), tuple(packages[1]))
    warning = (
        f"the lock `{shown_path(path)}` was made for another `image.apt`: only its base is used (`launch lock` makes it again)"
    )
    return BaseLock(tuple(packages[0]), (), warning, added_is_current=False)


def read_locked_python(path: Path | None, *, wanted: str) -> LockedPython | None:
    """uv's Python *wanted* in the lock *path*; None when that has none, another one, or is not for this machine."""
    text = None if path is None else _text_of(path)
    if path is None or text is None:
        return None
    header = _read_header(text)
    if header.get("machine") != os.uname().machine:
        return None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("uv-python="):
            found = _PYTHON.fullmatch(line)
            if found is None or ".." in found["file"].split("/"):
                raise _damaged_error(path, number)
            python = ManagedPython(found["version"], found["file"], found["sha256"])
            fits = wanted in (python.version, minor_of(python.version))
            return LockedPython(python, f"bootstrap:debian/{header.get('suite')}") if fits else None
    return None


def read_image_lock(path: Path, *, reference: str) -> ImageLock | None:
    """The lock in *path* for the image *reference*; None when there is no such file."""
    text = _text_of(path)
    if text is None:
        return None
    _, warning = _header(path, text, kind="image", base=reference)
    if warning is not None:
        return ImageLock(None, (warning,))
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line and not line.startswith("#")]
    number, line = lines[0] if lines else (1, "")
    if len(lines) != 1 or not _is_pinned(line):
        raise _damaged_error(path, number)
    return ImageLock(line)


def _header(path: Path, text: str, *, kind: str, base: str) -> tuple[dict[str, str], str | None]:
    """What the head of *text* says, and a warning where the lock is not for *base* (a `suite` or an `image`) on this machine."""
    header = _read_header(text)
    why = None
    if header.get(kind) != base:
        why = f"it is for {header.get('suite') or header.get('image') or 'another base'}, the base is {base}"
    elif header.get("machine") != os.uname().machine:
        why = f"it is for {header.get('machine')}, this machine is {os.uname().machine}"
    if why is None:
        return header, None
    return header, f"the lock `{shown_path(path)}` has drifted and is not used: {why} (`launch lock` makes it again)"


def _read_header(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# (suite|image|machine|apt): ?(.*)$", text, re.MULTILINE))


def _line(deb: DebPackage) -> str:
    return f"{deb.name}={deb.version} {deb.architecture} {deb.archive} {deb.pool_path} {deb.size} sha256:{deb.sha256}"


def _parse(line: str, path: Path, number: int) -> DebPackage:
    found = _ENTRY.fullmatch(line)
    # The path goes into an address and must not leave the pool.
    if found is None or ".." in found["pool_path"].split("/"):
        raise _damaged_error(path, number)
    fields: dict[str, Any] = {**found.groupdict(), "size": int(found["size"])}
    return DebPackage(**fields)


def _damaged_error(path: Path, number: int) -> ConfigError:
    hint = "make it again with `launch lock`, or remove it"
    return ConfigError("this line of the base's lock is damaged", origin=Origin(file=str(path), line=number), hint=hint)


def _is_pinned(line: str) -> bool:
    try:
        parsed = parse_reference(line)
    except BadContent:
        return False
    return isinstance(parsed, Remote) and parsed.digest is not None
