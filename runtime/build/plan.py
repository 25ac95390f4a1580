"""BuildPlan: the steps that make an image, as data in which nothing floats. Making it is `builder.py`.

Each step becomes zero or more layers. A step knows its own inputs completely, so its cache key is a function of the step
and, where `needs_parent` is true, of the layers below (see `cache_key.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.oci.digest import Digest

LAYER_MTIME_S = 315_619_200
"""Every file of every layer has this mtime: 1980-01-02T00:00:00Z (a zip cannot say less)."""

WORKDIR = "/workspace"
VENV = "/opt/venv"
"""Wheels are installed below this prefix: `/opt/venv/lib/pythonX.Y/site-packages`, found through PATH."""


@dataclass(frozen=True, slots=True)
class DebPackage:
    """One locked .deb: pool path below the archive's address, size in bytes, sha256."""

    name: str
    version: str
    architecture: str
    archive: str
    """Which archive of the base's lock it is from: `main`, `updates`, `security`."""
    pool_path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class UnpackDebs:
    """Unpack locked .debs and write dpkg's database with them as `install ok unpacked`. A function of the lock alone for a
    base (`onto_base` false); else the layers below give the database that is extended."""

    suite: str
    packages: tuple[DebPackage, ...]
    onto_base: bool = False


@dataclass(frozen=True, slots=True)
class ImportImage:
    """Layers of an image from outside: `oci:DIR[:TAG]` or `docker-archive:FILE[:TAG]` (containers-transports(5))."""

    reference: str
    manifest_digest: Digest


@dataclass(frozen=True, slots=True)
class InstallWheel:
    """One wheel below VENV. Its layer depends on the wheel, the interpreter, the prefix and our unpacker; on no layer."""

    name: str
    version: str
    sha256: str
    filename: str
    interpreter: str
    """`Interpreter.build_id`: exact version and digest of the binary."""
    python: str
    """`3.13`: names the lib directory."""


@dataclass(frozen=True, slots=True)
class MakeVenv:
    """`pyvenv.cfg` and `bin/python*` of VENV, pointing at the base's interpreter."""

    interpreter: str
    executable: str
    """`/usr/bin/python3.13`"""
    version: str
    """`3.13.5`"""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run *argv* in a container on the layers below; what it changed is the layer."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    network: str = "none"
    """none | host | bridge"""
    label: str = ""
    """What people see: `dpkg --configure -a`, `apt-get install git`."""
    drop: tuple[str, ...] = ()
    """Globs of paths (relative, as `var/log/**`) that are left out of the layer since they differ from run to run."""
    owners: tuple[tuple[str, int, int], ...] = ()
    """(path, uid, gid) that the command is known to set, put into the layer's tree where the command touched that path: a
    build with a single id cannot see a change of owner, and its digest has to be the same."""


@dataclass(frozen=True, slots=True)
class CopyIn:
    """A code snapshot (see `launcher.plan.code_snapshot`) below *target*."""

    source: str
    """Directory on this machine that holds exactly the files of the snapshot, or is read through *files*."""
    files: tuple[tuple[str, int, str], ...]
    """(relative path, mode 0644|0755|0o120777, sha256 of the content or of the link's target), sorted by path."""
    target: str
    snapshot_digest: Digest


Step = UnpackDebs | ImportImage | InstallWheel | MakeVenv | RunCommand | CopyIn


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What goes into the OCI image configuration (config.md)."""

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = WORKDIR
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = "amd64"


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Steps bottom to top. `source_date_epoch_s` goes into `created`; layer mtimes are LAYER_MTIME_S, never it."""

    steps: tuple[Step, ...]
    config: ImageConfig
    source_date_epoch_s: int = LAYER_MTIME_S


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of a base image, read from its files."""

    executable: str
    version: str
    digest: Digest

    @property
    def minor(self) -> str:
        """`3.13` of `3.13.5`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def build_id(self) -> str:
        return f"cpython-{self.version}-{self.digest.short}"
