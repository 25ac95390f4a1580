"""The lock of a registry's image that a person keeps beside an experiment: `NAME.base.lock`, one line with its digest.

    # Locked by launch; made again by: launch lock experiment=NAME
    # image: python:3.12-slim
    # machine: x86_64
    docker.io/library/python:3.12-slim@sha256:…

docker and podman take the line as it is. It is used while image and machine are those of its header.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path
from runtime.errors import BadContent
from runtime.oci.reference import Remote, parse_reference


@dataclass(frozen=True, slots=True)
class ImageLock:
    """What the lock says."""

    pinned: str | None
    """The reference with its digest; None: the lock is for something else."""
    warnings: tuple[str, ...] = ()


def image_lock_text(reference: str, pinned: str, *, command: str) -> str:
    """The lock file. *command* is how to make it again."""
    head = f"# Locked by launch; made again by: {command}\n# image: {reference}\n# machine: {os.uname().machine}\n"
    return f"{head}{pinned}\n"


def read_image_lock(path: Path, *, reference: str) -> ImageLock | None:
    """The lock in *path* for the image *reference*; None when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    header = dict(re.findall(r"^# (image|machine|suite): ?(.*)$", text, re.MULTILINE))
    why = _drift(header, reference)
    if why is not None:
        warning = f"the lock `{shown_path(path)}` has drifted and is not used: {why} (`launch lock` makes it again)"
        return ImageLock(None, (warning,))
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line and not line.startswith("#")]
    number, line = lines[0] if lines else (1, "")
    if len(lines) != 1 or not _is_pinned(line):
        hint = "make it again with `launch lock`, or remove it"
        raise ConfigError("this line of the base's lock is damaged", origin=Origin(file=str(path), line=number), hint=hint)
    return ImageLock(line)


def _drift(header: dict[str, str], reference: str) -> str | None:
    if header.get("image") != reference:
        return f"it is for {header.get('image') or header.get('suite') or 'another base'}, the base is {reference}"
    if header.get("machine") != os.uname().machine:
        return f"it is for {header.get('machine')}, this machine is {os.uname().machine}"
    return None


def _is_pinned(line: str) -> bool:
    try:
        parsed = parse_reference(line)
    except BadContent:
        return False
    return isinstance(parsed, Remote) and parsed.digest is not None
