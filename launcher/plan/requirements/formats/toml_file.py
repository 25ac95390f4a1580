"""Read a TOML file that a person keeps; what is wrong with it is told with its name and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path

_PLACE = re.compile(r" \(at line (\d+), column \d+\)")


def read_toml(path: Path) -> dict[str, Any]:
    """The document in *path*."""
    import tomllib

    text = read_text(path, f"`{shown_path(path)}`")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        origin = Origin(file=str(path), line=int(place[1]) if place else None)
        reason = _PLACE.sub("", str(error)).lower()
        raise ConfigError(f"`{shown_path(path)}` is not TOML: {reason}", origin=origin) from None


def read_text(path: Path, shown: str) -> str:
    """The text of *path*, which messages call *shown*."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{shown} does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{shown} is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror}") from error
