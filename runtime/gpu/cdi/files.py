"""Find CDI specifications: which directories are searched, which files are read, which of two wins.

`/etc/cdi` is written by people, `/var/run/cdi` by programs; the later directory wins. Two files of one directory that define the
same device make that device unusable and harm nothing else; neither does a file that can't be read (cache.go, "refresh").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.errors import BadContent
from runtime.gpu.cdi.document import Device, DeviceName, Specification, specification
from runtime.gpu.cdi.serialize import parse_json, parse_yaml
from runtime.light_dataclasses import dataclass, field

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A device, and the file that defines it."""

    device: Device
    specification: Specification
    file: Path


@dataclass(slots=True)
class Catalogue:
    """All devices of a machine's specifications, and what was seen on the way, for messages."""

    devices: dict[DeviceName, Found] = field(default_factory=dict)
    directories: tuple[Path, ...] = ()
    files: list[Path] = field(default_factory=list)
    mistakes: dict[Path, str] = field(default_factory=dict)
    """File → why it was left out."""
    conflicts: dict[DeviceName, tuple[Path, ...]] = field(default_factory=dict)
    """Device → files of one directory that each define it."""


def read_catalogue(directories: Sequence[Path] = DIRECTORIES) -> Catalogue:
    """What the files in *directories* define; the later directory wins."""
    catalogue = Catalogue(directories=tuple(directories))
    for directory in directories:
        _read_directory(directory, catalogue)
    return catalogue


def _read_directory(directory: Path, catalogue: Catalogue) -> None:
    here: dict[DeviceName, list[Found]] = {}
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in (".json", ".yaml"))
    except OSError:  # a missing directory is the usual case
        return
    for path in paths:
        try:
            found = read_specification(path)
        except BadContent as error:
            catalogue.mistakes[path] = error.message
            continue
        catalogue.files.append(path)
        for device in found.devices:
            here.setdefault(DeviceName(found.kind, device.name), []).append(Found(device, found, path))
    for name, candidates in here.items():
        catalogue.devices.pop(name, None)
        catalogue.conflicts.pop(name, None)
        if len(candidates) == 1:
            catalogue.devices[name] = candidates[0]
        else:
            catalogue.conflicts[name] = tuple(one.file for one in candidates)


def read_specification(path: Path) -> Specification:
    """The specification in *path*, JSON or YAML by its name. Raises BadContent."""
    try:
        content = _content(path)
    except OSError as error:
        raise BadContent(f"it can't be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise BadContent(f"it is larger than {_MOST_BYTES >> 20} MiB")
    try:
        return specification(_parse(content, is_json=path.suffix == ".json"))
    except RecursionError:
        raise BadContent("it is nested too deeply") from None


def _content(path: Path) -> bytes:
    """One byte more than may be is enough. Nobody writes to a pipe that lies there: it isn't waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadContent("it is not a regular file")
        return file.read(_MOST_BYTES + 1)


def _parse(content: bytes, *, is_json: bool) -> Any:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadContent(f"it is not UTF-8: {error.reason}") from error
    return parse_json(text) if is_json else parse_yaml(text)
