"""BuildPlan: the steps that make an image, as data in which nothing floats. Making it is `builder.py`.

Each step becomes zero or more layers. A step knows its own inputs completely, so its cache key is a function of the step
and, where `needs_parent` is true, of the layers below (see `cache_key.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest, digest_json

LAYER_MTIME_S = 315_619_200
"""Every file of every layer has this mtime: 1980-01-02T00:00:00Z (a zip cannot say less)."""

LINK_MODE = 0o120777
DIRECTORY_MODE = 0o040755
"""What a symbolic link and a directory have as their mode in a list of files."""

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
    """Layers of an image from a registry, `oci:DIR[:TAG]` or `docker-archive:FILE[:TAG]` (containers-transports(5))."""

    reference: str
    manifest_digest: Digest


@dataclass(frozen=True, slots=True)
class InstallWheel:
    """One wheel below *prefix*. Its layer depends on the wheel, the interpreter, the prefix and our unpacker; on no layer."""

    name: str
    version: str
    sha256: str
    filename: str
    interpreter: str
    """`Interpreter.build_id`: exact version and digest of the binary."""
    python: str
    """`3.13`: names the lib directory."""
    prefix: str = VENV
    built_on: str = ""
    """A source distribution on a base that others made: which base, since its build may use what that has installed."""


@dataclass(frozen=True, slots=True)
class InstallTree(InstallWheel):
    """A package that is built from a tree of sources: a commit of a git repository, or a directory of the code. `sha256` is the
    digest of what the build sees of it."""

    git: str = ""
    """`git+https://host/path@<commit>#subdirectory=dir`, without user and password; else it is a directory of the code."""
    source: str = ""
    """As in `CopyIn`."""
    files: tuple[tuple[str, int, str], ...] = ()
    """As in `CopyIn`: all of the code."""
    directory: str = "."
    """Which part of *files* is the package."""
    contents: tuple[str, ...] | None = None
    """Paths below *directory* that the build can read (editable). None: it can read all."""
    description: str = ""
    """Text of `.git_archival.txt`, for a package that reads its version from git."""
    target: str = ""
    """Editable: where *directory* is in the image, since that is what Python imports. "": the wheel holds everything."""

    @property
    def content_digest(self) -> Digest:
        """What `sha256` must be for a directory of the code."""
        return digest_json({"files": [list(row) for row in self.rows], "description": self.description})

    @property
    def rows(self) -> list[tuple[str, int, str]]:
        """What a build sees of a directory of the code: (path below it, mode, sha256). Of what it can't read it sees modules by
        name (sha256 is ""), and of other files the directory that they are in: packages are found by these."""
        prefix = "" if self.directory == "." else f"{self.directory}/"
        below = [(path[len(prefix) :], mode, sha256) for path, mode, sha256 in self.files if path.startswith(prefix)]
        if self.contents is None:
            return below
        read = frozenset(self.contents)
        files = [
            (path, mode if path in read else 0o644, sha256 if path in read else "")
            for path, mode, sha256 in below
            if path in read or path.endswith(".py")
        ]
        known = {path.rpartition("/")[0] for path, _, _ in files}
        folders = {path.rpartition("/")[0] for path, _, _ in below} - known - {""}
        return sorted([*files, *((folder, DIRECTORY_MODE, "") for folder in folders)])


@dataclass(frozen=True, slots=True)
class MakeVenv:
    """`pyvenv.cfg` and `bin/python*` below *prefix*, pointing at the base's interpreter."""

    interpreter: str
    executable: str
    """`/usr/bin/python3.13`"""
    version: str
    """`3.13.5`"""
    system_site_packages: bool = False
    """Whether what the base has installed for its Python can be imported beside the wheels (imported bases)."""
    site_directories: tuple[str, ...] = ()
    """Where more of it is: the packages of a virtual environment that the base's `python3` was found in."""
    prefix: str = VENV
    """VENV, or a place beside it where the base has something there."""
    base_env: tuple[tuple[str, str], ...] = ()
    """Environment of an imported base, which its interpreter may need to start (LD_LIBRARY_PATH). For who runs it in a build; no
    part of the layer."""


@dataclass(frozen=True, slots=True)
class RunMount:
    """What a command sees while it runs and what is no part of its layer (Dockerfile reference, "RUN --mount")."""

    kind: Literal["bind", "cache", "secret", "tmpfs"]
    target: str
    source: str = ""
    """bind and cache: path inside the stage or the context; "" is its root. secret: the id in `BuildSources.secrets`."""
    stage: int | None = None
    """bind and cache: number of the mounted stage in `BuildPlan.stages`; None is the context (bind) or nothing (cache)."""
    context: str = ""
    """bind without a stage: directory on this machine; *files* says what of it may be seen."""
    files: tuple[tuple[str, int, str], ...] = ()
    """bind without a stage: (path relative to *context*, mode, sha256), as in `CopyIn.files`."""
    cache_id: str = ""
    """cache: which cache; steps that name the same one share it."""
    sharing: Literal["shared", "private", "locked"] = "shared"
    readonly: bool = True
    required: bool = False
    """secret: whether a build without it fails."""
    env: str = ""
    """secret: variable that holds it, instead of or beside the file."""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size_bytes: int | None = None
    """tmpfs: its limit."""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run *argv* in a container on the layers below; what it changed is the layer."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    network: str = "none"
    """none | host | bridge"""
    cwd: str = "/"
    user: str = ""
    """`USER[:GROUP]`, names or numbers, looked up in the layers below; "" is root."""
    mounts: tuple[RunMount, ...] = ()
    stdin: str = ""
    """What the command reads (a here-document)."""
    label: str = ""
    """What people see: `dpkg --configure -a`, `apt-get install git`."""
    drop: tuple[str, ...] = ()
    """Globs of paths (relative, as `var/log/**`) that are left out of the layer since they differ from run to run."""
    gpu: str = ""
    """The architecture of the one GPU that it sees (`Gpu.capability`: `9.0`, `gfx942`); "" for none."""


@dataclass(frozen=True, slots=True)
class CopyIn:
    """A code snapshot (see `launcher.plan.code.code_snapshot`) below *target*."""

    source: str
    """Directory on this machine that holds exactly the files of the snapshot, or is read through *files*."""
    files: tuple[tuple[str, int, str], ...]
    """(relative path, mode 0644|0755|0o120777, sha256 of the content or of the link's target), sorted by path."""
    target: str
    snapshot_digest: Digest


@dataclass(frozen=True, slots=True)
class ContextFiles:
    """Files of a build context, chosen when the plan was made."""

    root: str
    """Directory on this machine."""
    files: tuple[tuple[str, str, int, str], ...]
    """(path relative to *root*, path below the target directory, mode 0644|0755|0o120777|0o040755 for a directory, sha256 of the
    content or of a link's target, "" for a directory), sorted by the second."""
    single: bool
    """One source that is a file: a target that doesn't end in `/` and is no directory below is its own name."""


@dataclass(frozen=True, slots=True)
class StageFiles:
    """Files of another stage, chosen when that is built."""

    stage: int
    """Number in `BuildPlan.stages`."""
    patterns: tuple[str, ...]
    """Go's filepath.Match, relative to the stage's root; a directory means its content (COPY)."""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file from an address, by its digest (ADD --checksum)."""

    url: str
    digest: Digest
    name: str


@dataclass(frozen=True, slots=True)
class InlineFiles:
    """Files whose text stands in the Dockerfile (here-documents)."""

    files: tuple[tuple[str, str], ...]
    """(name, text)"""


@dataclass(frozen=True, slots=True)
class CopyFiles:
    """Dockerfile's COPY and ADD. The layer depends on the files, on the target as the layers below resolve it (links, directories
    that are there keep their owner and mode), and, with names in *owner*, on their passwd and group files."""

    source: ContextFiles | StageFiles | FetchedFile | InlineFiles
    target: str
    """Absolute; with a `/` at the end it is a directory."""
    owner: str = ""
    """`USER[:GROUP]`, names or numbers (--chown); "" is 0:0."""
    mode: int | None = None
    """--chmod, for files and directories."""
    unpack: bool = False
    """ADD: a source that is a tar archive, compressed or not, is unpacked into the target."""
    link: bool = False
    """--link: the target is taken as it is written, whatever the layers below have there."""
    label: str = ""
    needs_directory: bool = False
    """Several files, and no `/` at the end of the target: it has to be a directory already."""


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Dockerfile's WORKDIR: make *path* (0755) where the layers below don't have it; no layer where they do."""

    path: str
    owner: str = ""
    """`USER[:GROUP]`, as in `CopyFiles`."""
    label: str = ""


Step = UnpackDebs | ImportImage | InstallWheel | InstallTree | MakeVenv | RunCommand | CopyIn | CopyFiles | MakeDirectory


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What goes into the OCI image configuration (config.md)."""

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = WORKDIR
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = "amd64"
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    """`80/tcp`"""
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None
    """Docker's `Healthcheck` (moby image-spec v1.2): Test, Interval, Timeout, StartPeriod, Retries; durations in nanoseconds."""
    onbuild: tuple[str, ...] = ()


def env_of(execution: Mapping[str, Any]) -> dict[str, str]:
    """`Env` of the execution part of an image's configuration (config.md), `["NAME=value"]`, as a mapping."""
    listed = execution.get("Env")
    pairs = listed if isinstance(listed, list) else []
    return dict(pair.split("=", 1) for pair in pairs if isinstance(pair, str) and "=" in pair)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Steps bottom to top. `source_date_epoch_s` goes into `created`; layer mtimes are LAYER_MTIME_S, never it."""

    steps: tuple[Step, ...]
    config: ImageConfig
    source_date_epoch_s: int = LAYER_MTIME_S
    stages: tuple[tuple[Step, ...], ...] = ()
    """Other stages whose files steps refer to by number; each refers to earlier ones only."""

    @property
    def all_steps(self) -> list[Step]:
        """The stages' in their order, and then its own."""
        return [step for stage in (*self.stages, self.steps) for step in stage]


def minor_of(version: str) -> str:
    """`3.13` of `3.13.5`."""
    return ".".join(version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of a base image, read from its files."""

    executable: str
    version: str
    digest: Digest

    @property
    def minor(self) -> str:
        return minor_of(self.version)

    @property
    def build_id(self) -> str:
        return f"cpython-{self.version}-{self.digest.short}"
