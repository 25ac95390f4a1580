"""What the command line adds besides overrides: `--with REQUIREMENT` and `-- COMMAND…`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.config.origin import Sources
from launcher.config.overrides import put

WITH_GROUP = "with"
"""Requirements of `--with` are a group of additions, since those join whatever `image.requirements` is: a list or a file."""


def add_requirements(requirements: Sequence[str], values: dict[str, Any], sources: Sources, *, cwd: Path) -> None:
    """`--with 'a>=1'`, any number of times."""
    if not requirements:
        return
    path = ("image", "groups", WITH_GROUP, "requirements")
    put(path, list(requirements), values)
    sources.add_value(path, override=" ".join(f"--with {shlex.quote(requirement)}" for requirement in requirements), holder=cwd)


def replace_command(command: Sequence[str] | None, values: dict[str, Any], sources: Sources, *, cwd: Path) -> None:
    """`-- python3 other.py --flag`: words as they are, nothing is split again."""
    if command is None:
        return
    values["command"] = list(command)
    sources.add_value(("command",), override=f"-- {shlex.join(command)}", holder=cwd)
