"""Find the place that a key's value came from, for errors raised after composition (`Composed.origins`)."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.errors import Origin

_COMMAND_LINE = "command line: "


def origin_of(origins: Mapping[str, str], key: str) -> Origin | None:
    """Origin of *key* (`data.cifar10`) or of the nearest mapping around it; None when it is a default."""
    while True:
        if key in origins:
            return parse_origin(origins[key])
        key, _, rest = key.rpartition(".")
        if not rest or not key:
            return None


def parse_origin(text: str) -> Origin:
    """What `str(Origin(…))` wrote."""
    if text.startswith(_COMMAND_LINE):
        return Origin(override=text.removeprefix(_COMMAND_LINE))
    file, _, line = text.rpartition(":")
    return Origin(file=file, line=int(line)) if file and line.isdigit() else Origin(file=text)
