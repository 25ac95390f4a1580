"""The hashes that requirements files give (`name==1.0 --hash=sha256:…`), which uv's `pip compile` passes over."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError
from launcher.plan.launch_plan import LockedWheel

_HASHED = re.compile(r"^([A-Za-z0-9][\w.-]*)(.*--hash[= ].*)$", re.MULTILINE)
_SHA256 = re.compile(r"--hash[= ]\s*sha256:([0-9a-fA-F]{64})")


def refuse_other_files(wheels: Iterable[LockedWheel], texts: Iterable[str]) -> None:
    """Raise ConfigError for the first of *wheels* of which *texts* have other hashes. *texts*: lines of requirements files."""
    allowed: dict[str, set[str]] = {}
    for name, rest in (line for text in texts for line in _HASHED.findall(text)):
        allowed.setdefault(canonicalize_name(name), set()).update(found.lower() for found in _SHA256.findall(rest))
    for wheel in wheels:
        hashes = allowed.get(canonicalize_name(wheel.name))
        if hashes and not wheel.is_tree and wheel.sha256 not in hashes:
            raise ConfigError(
                f"`{wheel.filename}` has sha256 {wheel.sha256}, which is none of the hashes that are required of {wheel.name}",
                hint="the index has another file than the one that was hashed, or the hashes are those of other platforms",
            )
