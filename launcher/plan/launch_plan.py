"""LaunchPlan: an experiment in which nothing floats. Printed, hashed, stored, replayed; made by `planner.py`.

`spec_digest` covers what can change the result (interface: "Identity"); `to_json`/`from_json` carry it to the supervisor
and into the record.
"""

from __future__ import annotations

from typing import Any

from launcher.config.spec import ExperimentSpec
from runtime.build.plan import BuildPlan
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class GitState:
    """Revision of the code; absent when the code is not in a git work tree."""

    commit: str
    branch: str | None
    dirty: bool
    remote_url: str | None = None
    diff: str | None = None
    """`git diff HEAD` of tracked files, cut at 1 MB."""


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """The one file of a requirement that this image takes."""

    name: str
    version: str
    sha256: str
    filename: str
    index: str | None = None
    """Name of the index when it isn't the default one; never a URL."""
    sdist: bool = False
    size: int | None = None
    """Bytes, for progress; None where the index doesn't tell."""
    url: str | None = None
    """Only for a requirement that the person wrote as an address (`name @ https://…`). Of a tree of sources, which has its
    digest as *sha256*: `git+https://…@<commit>`. Of a directory of the code, which the code's own digest pins: `./libs/x`, or
    `-e ./libs/x` where it is editable."""
    other_python: str | None = None
    """Of a source distribution: a Python that has a wheel of this version (`bookworm's 3.11`), for when it doesn't build."""

    @classmethod
    def of_git(cls, name: str, version: str, url: str, sha256: str) -> LockedWheel:
        """A commit of a repository; *version* is the commit's own name where the package doesn't state one."""
        return cls(name, version, sha256, f"{name} {version}", sdist=True, url=url)

    @classmethod
    def of_code(cls, name: str, url: str) -> LockedWheel:
        """A directory of the code."""
        return cls(name, "", "", name, sdist=True, url=url)

    @property
    def is_git(self) -> bool:
        return self.url is not None and self.url.startswith("git+")

    @property
    def is_tree(self) -> bool:
        """Whether it is built from sources that are no file."""
        return self.is_git or self.filename == self.name

    @property
    def is_editable(self) -> bool:
        return self.url is not None and self.url.startswith("-e ")

    @property
    def directory(self) -> str | None:
        """Of a package that is part of the code: where, as in `InstallTree`."""
        place = (self.url or "").removeprefix("-e ")
        return place[2:] or "." if place.startswith("./") else None

    @property
    def exact(self) -> str:
        """The requirement that only this file meets: `==2.13.0` would be `2.13.0+cpu` as well (PEP 440), and uv would try that
        first where a find-links directory has it."""
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}==={self.version}"

    @property
    def requirement(self) -> str:
        """As a requirements file has it, without hashes."""
        if self.url is not None and (self.is_editable or self.directory is not None):
            return self.url
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolved requirement set for one Python and platform."""

    python: str
    platform: str
    wheels: tuple[LockedWheel, ...]
    digest: Digest
    """Digest of the names, versions and hashes, and of what is provided."""
    source: str
    """`resolved` now, `recorded` (same inputs as before), or the path of the lock file."""
    torch: str | None = None
    """The variant that `image.cuda` led to: `cpu`, `cu128`; None = torch's index was left alone."""
    warnings: tuple[str, ...] = ()
    """Files that were left out since they cannot load on the base, and packages of the base that others are installed over. Of a
    lock file: none, it was read before."""
    provided: tuple[tuple[str, str], ...] = ()
    """(name, version) of what the requirements take of the base, as it is there."""
    replaced: tuple[tuple[str, str], ...] = ()
    """(name, version) of packages of the base that a file of this lock is installed over."""


@dataclass(frozen=True, slots=True)
class CodeSnapshot:
    """The code at the moment of launch."""

    root: str
    files: tuple[tuple[str, int, str], ...]
    digest: Digest
    size_bytes: int
    git: GitState | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataPin:
    """What `data.NAME` held at the moment of launch."""

    source: str
    digest: Digest
    kind: str
    """`content`: the digest covers every byte. `listing`: names, sizes and mtimes only (too much to read at every launch)."""
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    spec: ExperimentSpec
    spec_digest: Digest
    build: BuildPlan
    code: CodeSnapshot
    lock: Lock | None
    base_digest: Digest
    """Digest of the base's lock (bootstrap) or manifest (import)."""
    argv: tuple[str, ...]
    """The command with every word filled in."""
    threads: int
    cpus: float
    """Cores this run counts as, for placement and thread numbers."""
    memory_bytes: int | None
    gpus: int | float
    """Number of GPUs; `all` is resolved."""
    processes: int = 1
    """Ranks on this machine; `per-gpu` is resolved."""
    data: dict[str, DataPin] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    origins: dict[str, str] = field(default_factory=dict)
    """`params.lr` → `conf/experiment/digits.yaml:7` or `command line: params.lr=0.1`."""
    warnings: tuple[str, ...] = ()

    @property
    def params(self) -> dict[str, Any]:
        return self.spec.params
