"""The files that a program left in a directory: of any name, at any depth, with links to anywhere among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PATH_MAX = 4096

WORKSPACE = "workspace"
"""Below the outputs: what the program wrote in its working directory, on the first node."""
WORKSPACE_OF_NODE = "workspace-of-node-"


def is_of_workspace(name: str) -> bool:
    """Whether the output *name* was not put there, but found in the working directory."""
    return name.startswith((f"{WORKSPACE}/", WORKSPACE_OF_NODE))


def regular_files(top: Path) -> Iterator[tuple[str, Path]]:
    """Regular files below *top* with their relative paths, sorted; no link is followed.

    Not `os.walk`, which needs a Python frame for each level (until 3.12): a program decides how deep its directories are.
    """
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue  # gone, not ours to read, or deeper than a path may be long
        entries = [entry for entry in entries if len(os.fsencode(entry.path)) < _PATH_MAX]
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield str(Path(entry.path).relative_to(top)), Path(entry.path)
        waiting += [Path(entry.path) for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]
