"""Where a build's inputs come from: addresses, caches, credentials. None of it is part of a cache key.

A plan names content by digest; a source says where to look for it. Archive and index are asked for only when a step has to be
made that needs them: whose wheels are all there reads no settings of pip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from runtime.light_dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DebianSource:
    """Archives of a Debian base."""

    archives: dict[str, str]
    """`main`, `updates`, `security` → base address (http, https or file)."""
    cache_dir: Path
    """Indexes that may be deleted at any time; .debs themselves are blobs of the store."""
    keyring: tuple[Path, ...] = ()
    """Key files that may sign the Release file, beside those of the package."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """The index, as arguments and environment of uv, and the locked requirements."""

    uv_args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """Not shown: an index address may hold a password."""
    requirements: str = ""
    """Locked requirements text, one `name==version --hash=sha256:…` a wheel."""
    cache_dir: Path | None = None
    """uv's cache; None = uv's own default."""
    sdist_network: str = "none"
    """Network of the container in which an sdist is built: none | host | bridge."""
    glibc: tuple[int, int] | None = None
    """The base's, to warn of a wheel whose tag hides that it needs a newer one; None = not known, or not glibc."""
    git_addresses: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Repository → its address with the user and password that a person wrote."""
    build_constraints: tuple[str, ...] = ()
    """`torch==2.5.1+cu124`: what source distributions are built against is what the base has."""
    other_pythons: Mapping[str, str] = field(default_factory=dict)
    """File name of a source distribution → a Python that has a wheel of it, as words for who has none."""


@dataclass(frozen=True, slots=True)
class BuildSources:
    """What a plan's steps may need; a part that no step needs may be, or give, None."""

    debian: Callable[[], DebianSource | None] = lambda: None
    mirror: str | None = None
    """Address of the Debian archive, for commands on a Debian that names none; None = this machine's."""
    wheels: Callable[[], WheelSource | None] = lambda: None
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Id → content, for `RUN --mount=type=secret`; never part of a key or a layer."""
    cache_mounts: Path | None = None
    """Directory of `RUN --mount=type=cache`, may be deleted at any time; None: each build has empty ones."""
    run_again: bool = False
    """Run commands also where the store has their layers (`docker build --no-cache`)."""
