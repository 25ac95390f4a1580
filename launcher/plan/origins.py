"""Find the place that a key's value came from, for errors raised after composition, and name files in messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from launcher.errors import Origin

Where = Callable[[str], Origin | None]
"""Key → where its value came from; None: it is a default."""


def shown_path(path: Path) -> str:
    """*path* as messages name it: relative where it lies below the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def origin_of(origins: Mapping[str, str], key: str) -> Origin | None:
    """Origin of *key* (`data.cifar10`) or of the nearest mapping around it; None when it is a default."""
    while True:
        if key in origins:
            return Origin.parse(origins[key])
        key, _, rest = key.rpartition(".")
        if not rest or not key:
            return None


def where_in(origins: Mapping[str, str]) -> Where:
    """`origin_of` for *origins*."""
    return partial(origin_of, origins)


def is_set(origins: Mapping[str, str], key: str) -> bool:
    """Whether anybody wrote *key* or a key below it; else all of it are defaults."""
    return any(known == key or known.startswith(f"{key}.") for known in origins)


def asks_for_base(where: Where) -> bool:
    """Whether somebody asked for the `image.base` that counts: it is no default, nor that of a preset of the group `image`."""
    origin = where("image.base")
    if origin is None or origin == where("image"):
        return False
    return origin.file is None or os.path.basename(os.path.dirname(origin.file)) != "image"
