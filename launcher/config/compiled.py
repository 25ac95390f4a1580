"""Compiled configuration: the spec of an unchanged request, without Hydra, pydantic or YAML.

Two steps, as ccache does. The key is over *every* YAML file of the search path (names and bytes: a new file can shadow), the
overrides, the search path, the working directory and the versions. Its entry lists the environment variables that were read
(hashes of values, absences too); a hit needs those unchanged as well. `LAUNCH_NO_CONFIG_CACHE=1` composes always.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.config.project import MOST_BYTES, Request, configuration_files, search_path
from launcher.config.spec import ExperimentSpec, from_json, to_json
from runtime.light_dataclasses import dataclass
from runtime.state_dir import StateDir
from runtime.whole_file import replace_file

if TYPE_CHECKING:
    from launcher.config.assembly import Assembly
    from launcher.config.sweep_dimension import Dimension
    from launcher.config.sweep_space import SweepSpace

_FORMAT = 1
_MOST_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class ComposedSpec:
    """A spec and where it comes from."""

    spec: ExperimentSpec
    origins: dict[str, str]
    """Dotted key → `conf/experiment/digits.yaml:7` or `command line: params.lr=0.1`."""
    choices: dict[str, str]
    """Group → option: `experiment` → `digits`, `image` → `debian`."""
    from_cache: bool
    _request: Request
    validate_s: float = 0.0
    """Seconds of the composition that were validation; none when it came compiled."""

    @property
    def overrides(self) -> tuple[str, ...]:
        return self._request.overrides

    @property
    def experiment_file(self) -> Path | None:
        """The YAML file of the chosen experiment: lock files lie beside it."""
        chosen = self.choices.get("experiment")
        return None if chosen is None else self._request.path.find(f"experiment/{chosen}")

    def yaml(self) -> str:
        """The resolved configuration as YAML, for `--cfg job`: always from a real composition."""
        import yaml

        from launcher.config.assembly import assemble

        return str(yaml.safe_dump(assemble(self._request).values, sort_keys=False, allow_unicode=True, width=120))


@dataclass(frozen=True, slots=True)
class ComposedSweep:
    """A sweep, composed and validated value by value; its trials are composed one by one."""

    parent: ComposedSpec
    """The experiment with the fixed overrides, and its files' values for the keys that are swept."""
    dimensions: tuple[Dimension, ...]
    enqueued: tuple[tuple[str, ...], ...]
    """The overrides of points to try first."""
    _space: SweepSpace

    def trial(self, overrides: Sequence[str]) -> ComposedSpec:
        """The trial that *overrides* (`params.lr=0.1`, `seed=2`) set apart, with its origins."""
        request = self.parent._request._replace(overrides=(*self._space.fixed, *overrides))
        return _to_composed(self._space.trial(overrides), request)


def load(
    overrides: Sequence[str],
    *,
    config_dir: Path | None,
    cwd: Path,
    state: StateDir,
    environ: Mapping[str, str],
    with_requirements: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> ComposedSpec:
    """The experiment of *overrides*. Raises ConfigError for whatever is wrong with it."""
    request = _request(overrides, config_dir, cwd, environ, with_requirements, command)
    if environ.get("LAUNCH_NO_CONFIG_CACHE") == "1":
        return _compose(request)
    entry = state.cache / "compiled" / f"{_key(request)}.json"
    return _hit(entry, request) or _compose(request, entry=entry)


def load_sweep(
    overrides: Sequence[str],
    *,
    config_dir: Path | None,
    cwd: Path,
    environ: Mapping[str, str],
    with_requirements: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> ComposedSweep:
    """The sweep of *overrides* (`launch -m`). Composed always: a trial costs a millisecond, not a composition."""
    from launcher.config.sweep_space import assemble_space

    request = _request(overrides, config_dir, cwd, environ, with_requirements, command)
    space = assemble_space(request)
    parent = _to_composed(space.parent, request._replace(overrides=space.fixed))
    return ComposedSweep(parent, space.dimensions, space.enqueued, space)


def _request(
    overrides: Sequence[str],
    config_dir: Path | None,
    cwd: Path,
    environ: Mapping[str, str],
    with_requirements: Sequence[str],
    command: Sequence[str] | None,
) -> Request:
    cwd = Path(os.path.abspath(cwd))
    path = search_path(config_dir=config_dir, cwd=cwd, environ=environ)
    words = None if command is None else tuple(command)
    return Request(tuple(overrides), path, cwd, environ, tuple(with_requirements), words)


def _to_composed(made: Assembly, request: Request) -> ComposedSpec:
    return ComposedSpec(made.spec, made.origins, made.choices, False, request, validate_s=made.validate_s)


def _compose(request: Request, *, entry: Path | None = None) -> ComposedSpec:
    from launcher.config.assembly import assemble

    made = assemble(request)
    if entry is not None and made.repeatable:
        # A cache that cannot be written (read-only home, full disk) costs time, not the launch.
        with contextlib.suppress(OSError):
            _store(entry, made)
    return _to_composed(made, request)


def _key(request: Request) -> str:
    digest = hashlib.sha256()
    command = ("as configured",) if request.command is None else ("--", *request.command)
    for part in (*_versions(), str(request.cwd), *request.overrides, "--with", *request.with_requirements, *command):
        digest.update(b"%d:%s" % (len(part), os.fsencode(part)))
    for directory in request.path.directories:
        digest.update(b"%d:%s" % (len(str(directory)), os.fsencode(directory)))
    for name, file in configuration_files(request.path):
        content = _content_or_size(file)
        digest.update(b"%d:%s%d:%s" % (len(name), os.fsencode(name), len(content), content))
    return digest.hexdigest()


def _content_or_size(file: Path) -> bytes:
    """A file that is larger than one may be is refused by whoever takes it: it shall cost nobody else its reading."""
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        return b"%d bytes" % size if size > MOST_BYTES else opened.read()


def _versions() -> list[str]:
    """What changes when launch or a library is exchanged. `importlib.metadata` would say it better and take 60 ms."""
    folder = os.path.dirname(__file__)
    with os.scandir(folder) as entries:
        ours = sorted(f"{entry.name}@{entry.stat().st_mtime_ns}" for entry in entries if entry.name.endswith(".py"))
    libraries = [
        f"{place}@{os.stat(place).st_mtime_ns}" for place in sys.path if place.endswith("-packages") and os.path.isdir(place)
    ]
    return [str(_FORMAT), sys.version, *ours, *libraries]


def _fingerprint(value: str | None) -> str | None:
    return None if value is None else hashlib.sha256(os.fsencode(value)).hexdigest()


def _hit(entry: Path, request: Request) -> ComposedSpec | None:
    try:
        document: dict[str, Any] = json.loads(entry.read_bytes())
    except (OSError, ValueError):
        return None
    if any(_fingerprint(request.environ.get(name)) != known for name, known in document["environment"].items()):
        return None
    return ComposedSpec(from_json(ExperimentSpec, document["spec"]), document["origins"], document["choices"], True, request)


def _store(entry: Path, made: Assembly) -> None:
    entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "environment": {name: _fingerprint(value) for name, value in made.environment.items()},
        "spec": to_json(made.spec),
        "origins": made.origins,
        "choices": made.choices,
    }
    replace_file(entry, json.dumps(document))
    _forget_old(entry.parent)


def _forget_old(folder: Path) -> None:
    entries = list(folder.glob("*.json"))
    if len(entries) > _MOST_ENTRIES:
        for old in sorted(entries, key=lambda file: file.stat().st_mtime)[: len(entries) - _MOST_ENTRIES // 2]:
            old.unlink(missing_ok=True)
