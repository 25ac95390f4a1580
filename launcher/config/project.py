"""Where configuration lies: the search path of `conf/` directories, and the experiments in it. Knows nothing of Hydra.

Search path, first wins: `--config-dir`, `./conf` (found upward from the working directory as git finds `.git`),
`$XDG_CONFIG_HOME/launch/conf`, `/etc/launch/conf`, and what launch ships. In the wheel the shipped `conf/` and `experiments/`
are `launcher/_conf` and `launcher/_experiments`; in the repository they stand beside `launcher/`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass

SITE = Path("/etc/launch/conf")
_PACKAGE = Path(__file__).resolve().parent.parent
INSTALLED_CONF = "_conf"
"""Where the shipped `conf/` lies in an installed launch, below the package."""

MOST_BYTES = 1 << 20
"""Of a configuration file."""
_BEGINNING_BYTES = 64 << 10
"""In which an experiment's description is looked for: the list of all shall not wait for a file of any size."""
_MARKS = ("project.yaml", "experiment", "config.yaml")
BESIDE = "launch-conf"
"""Where a project has its configuration whose `conf/` is that of its own program."""


@dataclass(frozen=True, slots=True)
class SearchPath:
    """The `conf/` directories that exist, the winner first."""

    directories: tuple[Path, ...]

    def find(self, config: str) -> Path | None:
        """The file of *config* (`image/debian`): the first directory that has it."""
        for directory in self.directories:
            file = directory / f"{config}.yaml"
            if file.is_file():
                return file
        return None

    def options(self, group: str) -> list[str]:
        """The choices of *group*, sorted: `image` → bookworm, cuda12, debian."""
        found = {file.stem for directory in self.directories for file in (directory / group).glob("*.yaml")}
        return sorted(found)

    def is_group(self, name: str) -> bool:
        return any((directory / name).is_dir() for directory in self.directories)

    def groups(self) -> list[str]:
        """The names of the groups at the top: cluster, experiment, image, sweep, tracking, and a project's own."""
        return sorted({child.name for directory in self.directories for child in directory.iterdir() if child.is_dir()})

    def holder(self, file: Path) -> Path:
        """The directory that relative paths in *file* start from: the one that holds its `conf/`."""
        for directory in self.directories:
            if file.is_relative_to(directory):
                return directory.parent
        return file.parent

    def project(self) -> Path | None:
        """The directory that holds the project's own `conf/`, None where only shipped configuration is at hand."""
        first = self.directories[0]
        return None if first == shipped_conf() else first.parent


class Request(NamedTuple):
    """Everything that an experiment's configuration depends on, besides the files."""

    overrides: tuple[str, ...]
    path: SearchPath
    cwd: Path
    environ: Mapping[str, str]
    with_requirements: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


def shipped_conf() -> Path:
    """The `conf/` that launch ships, in the wheel or in the repository."""
    packaged = _PACKAGE / INSTALLED_CONF
    return packaged if packaged.is_dir() else _PACKAGE.parent / "conf"


def shipped_path(holder: Path, relative: str) -> Path:
    """*relative* below *holder*; `experiments/x` named by the shipped conf/ of a wheel is `launcher/_experiments/x`."""
    if holder == _PACKAGE and relative.split("/")[0] == "experiments":
        return holder / f"_{relative}"
    return holder / relative


def search_path(*, config_dir: Path | None, cwd: Path, environ: Mapping[str, str], site: Path = SITE) -> SearchPath:
    """The search path as seen from *cwd*."""
    candidates: list[Path] = []
    if config_dir is not None:
        chosen = (cwd / config_dir).resolve()
        if not chosen.is_dir():
            raise ConfigError(
                f"no such configuration directory: `{config_dir}`", origin=Origin(override=f"--config-dir {config_dir}")
            )
        candidates.append(chosen)
    upward = _upward(cwd.resolve())
    if upward is not None:
        candidates.append(upward)
    home = environ.get("XDG_CONFIG_HOME") or (os.path.join(environ["HOME"], ".config") if environ.get("HOME") else "")
    if home:
        candidates.append(Path(home) / "launch" / "conf")
    candidates += [site, shipped_conf()]
    return SearchPath(tuple(dict.fromkeys(directory for directory in candidates if directory.is_dir())))


def _upward(start: Path) -> Path | None:
    """The nearest `conf/` at or above *start* that looks like ours: `/etc` and others have a conf/ too."""
    for directory in (start, *start.parents):
        for conf in (directory / BESIDE, directory / "conf"):
            if any((conf / mark).exists() for mark in _MARKS):
                return conf
    return None


def is_of_another_program(conf: Path) -> bool:
    """Whether *conf* is a Hydra program's own: it has files at its top that mean nothing here, or a `config.yaml` without our
    schema (`compose.py` refuses that)."""
    if (conf / "project.yaml").exists():
        return False
    others = [file for file in conf.glob("*.yaml") if file.stem not in ("user", "site")]
    return any(file.stem != "config" or not re.search(r"^\s*-\s*schema\b", _text(file), re.MULTILINE) for file in others)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def configuration_files(path: SearchPath) -> Iterator[tuple[str, Path]]:
    """Every `.yaml` of every directory, sorted, as (name below its directory, file)."""
    for directory in path.directories:
        for folder, folders, files in os.walk(directory):
            folders.sort()
            for name in sorted(files):
                if name.endswith(".yaml"):
                    file = os.path.join(folder, name)
                    yield os.path.relpath(file, directory), Path(file)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment that can be launched."""

    name: str
    description: str
    file: Path


def list_experiments(*, config_dir: Path | None, cwd: Path, environ: Mapping[str, str]) -> list[Experiment]:
    """The experiments of the search path, by name. Needs no composition: only the description is read."""
    found: dict[str, Experiment] = {}
    for directory in search_path(config_dir=config_dir, cwd=cwd, environ=environ).directories:
        group = directory / "experiment"
        for file in group.rglob("*.yaml"):
            name = file.relative_to(group).with_suffix("").as_posix()
            if name not in found:
                found[name] = Experiment(name, _description(file), file)
    return [found[name] for name in sorted(found)]


def init_project(directory: Path) -> list[Path]:
    """Make a project in *directory*, ready to launch. Files that exist are left as they are. Returns what was written."""
    template = _PACKAGE / "_template"
    written = []
    for source in sorted(file for file in template.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        target = directory / source.relative_to(template)
        if target.exists():
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot write `{target}`: {(error.strerror or str(error)).lower()}") from error
        written.append(target)
    return written


def _description(file: Path) -> str:
    """The `description` of *file*; empty where there is none at its beginning, or the file is no YAML (the launch says so)."""
    import yaml

    with file.open("rb") as opened:
        start = opened.read(_BEGINNING_BYTES).decode(errors="replace")
    depth, key = 0, None  # of the top mapping
    try:
        for event in yaml.parse(start, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth != 1 or isinstance(event, yaml.CollectionStartEvent):
                continue
            text = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if key == "description":
                return str(text)
            key = text if key is None else None
    except yaml.YAMLError:
        pass
    return ""
