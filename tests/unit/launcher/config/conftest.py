"""A project in a temporary directory, and the calls that tests make on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from launcher.config import compiled
from launcher.config.compiled import ComposedSpec, ComposedSweep
from launcher.config.spec import ExperimentSpec, Sweep
from launcher.errors import ConfigError
from launcher.sweep.search.samplers import make_search
from launcher.sweep.search.study import Study
from runtime.state_dir import StateDir


@dataclass(frozen=True)
class Project:
    """A user's directory with a conf/ of its own."""

    root: Path
    state: StateDir

    def write(self, name: str, text: str) -> Path:
        """Write a file; the first line of a configuration is `# @package _global_` unless the test says otherwise."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"))
        return file

    def experiment(self, body: str, name: str = "mine") -> Path:
        return self.write(f"conf/experiment/{name}.yaml", "# @package _global_\n" + dedent(body).lstrip("\n"))

    def load(
        self,
        *overrides: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        config_dir: Path | None = None,
        with_requirements: Sequence[str] = (),
        command: Sequence[str] | None = None,
    ) -> ComposedSpec:
        return compiled.load(
            overrides,
            config_dir=config_dir,
            cwd=cwd or self.root,
            state=self.state,
            environ=environ or {},
            with_requirements=with_requirements,
            command=command,
        )

    def space(self, *overrides: str, environ: Mapping[str, str] | None = None) -> ComposedSweep:
        return compiled.load_sweep(overrides, config_dir=None, cwd=self.root, environ=environ or {})

    def sweep(self, *overrides: str, environ: Mapping[str, str] | None = None) -> Enumerated:
        """The space with all its trials, in the order in which they would start."""
        return enumerated(self.space(*overrides, environ=environ))

    def error(self, *overrides: str, environ: Mapping[str, str] | None = None) -> ConfigError:
        """The error that loading raises."""
        with pytest.raises(ConfigError) as caught:
            self.load(*overrides, environ=environ)
        return caught.value

    def sweep_error(self, *overrides: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            self.space(*overrides)
        return caught.value


@dataclass(frozen=True, slots=True)
class Enumerated:
    parent: ComposedSpec
    trials: list[tuple[tuple[str, ...], ExperimentSpec]]
    composed: list[ComposedSpec]
    exhausted: bool


def enumerated(space: ComposedSweep) -> Enumerated:
    settings = space.parent.spec.sweep or Sweep()
    search = make_search(space.dimensions, settings, where=lambda _key: None)
    study = Study(search, space.dimensions, settings, base_seed=space.parent.spec.seed, enqueued=space.enqueued)
    asked = list(iter(study.ask, None))
    assert [each.number for each in asked] == list(range(1, len(asked) + 1))
    assert study.total == len(asked)
    composed = [space.trial(each.overrides) for each in asked]
    specs = [(each.overrides, trial.spec) for each, trial in zip(asked, composed, strict=True)]
    return Enumerated(space.parent, specs, composed, study.exhausted)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root, StateDir(tmp_path / "state"))


def shown(error: ConfigError) -> str:
    """*error* as it is printed."""
    origin = f"\n  --> {error.origin}" if error.origin else ""
    hint = f"\n\nhint: {error.hint}" if error.hint else ""
    return f"error: {error.message}{origin}{hint}"
