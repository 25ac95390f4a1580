"""A mirror of uv's Pythons with one Python, and the list by which uv knows it."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

BUILDS = "https://github.com/astral-sh/python-build-standalone/releases/download"
"""What uv replaces by its mirror."""


def write_mirror(directory: Path, version: str, content: Mapping[str, Path]) -> tuple[Path, dict[str, str]]:
    """The archive of *version*, made of *content* (path in it → where that lies), and the settings with which uv finds it."""
    machine = os.uname().machine
    file = directory / f"mirror/20241016/cpython-{version}+20241016-{machine}-unknown-linux-gnu-install_only.tar.gz"
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        for path, source in content.items():
            archive.add(source, f"python/{path}", filter=_without_absolute_links)
    major, minor, patch = map(int, version.split("."))
    build = {
        "name": "cpython",
        "arch": {"family": machine, "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": f"{BUILDS}/20241016/{file.name.replace('+', '%2B')}",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20241016",
    }
    (directory / "builds.json").write_text(json.dumps({f"cpython-{version}-linux-{machine}-gnu": build}))
    settings = {
        "UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{directory}/builds.json",
        "UV_PYTHON_INSTALL_MIRROR": f"file://{directory}/mirror",
    }
    return file, settings


def _without_absolute_links(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.issym() and member.linkname.startswith("/") else member
