"""The files in a cgroup directory: one value, or `key value` lines (cgroup-v2.rst, "Interface Files"; v1 has the same forms)."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import ContainerError
from runtime.light_typing import NamedTuple


def read_value(file: Path) -> str | None:
    """The content without its line end; None when the kernel has no such file here."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError:
        # ENODEV: the cgroup was removed between open and read. EOPNOTSUPP: e.g. cgroup.procs of a threaded cgroup.
        return None


def read_number(file: Path) -> int | None:
    """The value as an int; None when the file is missing or holds a word such as `max`."""
    value = read_value(file)
    return int(value) if value is not None and value.isdigit() else None


def read_keyed(file: Path, key: str) -> int | None:
    """The number behind *key* in a flat keyed file such as `memory.events`."""
    for line in (read_value(file) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return None


def read_pids(directory: Path) -> list[int]:
    """Process ids in *directory* itself, as seen from our pid namespace (0, a process outside of it, is left out)."""
    listed = (read_value(directory / "cgroup.procs") or "").split()
    return [int(pid) for pid in listed if pid != "0"]


def write_value(file: Path, value: str) -> None:
    """One write(2), as the kernel wants it. Raises OSError with the file's name."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
    finally:
        os.close(descriptor)


def make_empty(directory: Path) -> None:
    """Make the cgroup *directory*, replacing an empty one left by a killed run: its counters must start at zero.

    Raises ContainerError when somebody lives in it: two containers of one name would share limits and fate.
    """
    try:
        directory.mkdir(mode=0o755)
    except FileExistsError:
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise ContainerError(f"cgroup `{directory}` exists and is in use (pids {read_pids(directory)[:10]})") from error
        directory.mkdir(mode=0o755)


class Setting(NamedTuple):
    """A value for one file of one controller. Where *required* is false a kernel without the file is fine."""

    controller: str
    file: str
    value: str
    required: bool = True


def apply_settings(wanted: Sequence[Setting], directories: dict[str, Path]) -> dict[str, OSError | None]:
    """Write *wanted*. Returns controller → why a limit could not be set (None: there is no directory with that controller)."""
    failed: dict[str, OSError | None] = {}
    for setting in wanted:
        if setting.controller not in directories:
            failed.setdefault(setting.controller, None)
            continue
        try:
            write_value(directories[setting.controller] / setting.file, setting.value)
        except OSError as error:
            if setting.required or error.errno != errno.ENOENT:
                failed.setdefault(setting.controller, error)
    return failed
