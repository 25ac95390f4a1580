"""A resolved spec with other values: what `launch rerun RUN params.lr=0.5` changes of the record. Nothing is composed.

The same grammar and the same validation as a launch, over the spec as it was recorded; groups cannot be chosen again. Where a run
is placed is not one of its inputs: `cluster=local` and `cluster=slurm` say that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.config import overrides, resolve
from launcher.config.compose import parse_overrides
from launcher.config.origin import Sources
from launcher.config.overrides import WITH_GROUP, add_requirements
from launcher.config.spec import ExperimentSpec, Group, Image, to_json
from launcher.config.validate import ValidationContext, to_spec
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import replace

GROUPS = ("experiment", "image", "tracking", "cluster", "sweep")
_PLACES = ("cluster=local", "cluster=slurm")
"""The shipped presets; others are files, and a record has none."""
_FIXED = ("image", "code", "workdir", "name")


def amend(spec: ExperimentSpec, texts: Sequence[str], *, cwd: Path) -> ExperimentSpec:
    """*spec* with the overrides *texts*. Raises ConfigError for a wrong one, and for what a rerun keeps."""
    spelled = [text.replace("=", ".kind=", 1) if text in _PLACES else text for text in texts]
    for override in parse_overrides(spelled):
        _refuse_what_is_kept(str(override.key_or_group), str(override.input_line))
    amended = _amend(spec, spelled, cwd=cwd)
    if "cluster=slurm" in texts and amended.cluster.time is None:
        return replace(amended, cluster=replace(amended.cluster, time=amended.timeout))  # as conf/cluster/slurm.yaml has it
    return amended


def with_requirements(spec: ExperimentSpec, requirements: Sequence[str], *, cwd: Path) -> ExperimentSpec:
    """*spec* as `--with` for each of *requirements* makes it. Raises ConfigError for one that is none."""
    values, sources = to_json(spec), Sources(cwd)
    before = spec.image.groups.get(WITH_GROUP, Group()).requirements
    add_requirements((*before, *requirements), values, sources, cwd=cwd)
    return to_spec(values, ValidationContext(sources=sources, holder=cwd, experiment=None))


def amend_image(spec: ExperimentSpec, texts: Sequence[str], *, cwd: Path) -> Image:
    """`image` of *spec* with the overrides *texts*: where a recorded image is fetched from when it is made again."""
    return _amend(spec, texts, cwd=cwd).image


def _amend(spec: ExperimentSpec, texts: Sequence[str], *, cwd: Path) -> ExperimentSpec:
    values, sources = to_json(spec), Sources(cwd)
    parsed = parse_overrides(texts)
    overrides.refuse_sweeps(parsed)
    for override in parsed:
        overrides.apply(override, values, sources, holder=cwd)
    resolve.keep_text(values, sources)
    return to_spec(values, ValidationContext(sources=sources, holder=cwd, experiment=None))


def _refuse_what_is_kept(key: str, text: str) -> None:
    first = key.split(".")[0]
    if key == "cluster":
        message, hint = f"a rerun has no files to choose from: `{text}`", "`cluster=slurm`, `cluster.partition=…` and other keys"
        raise ConfigError(message, origin=Origin(override=text), hint=f"{hint}: what the preset says")
    if first in _FIXED or (key in GROUPS):
        raise ConfigError(
            f"a rerun has the image and the code of the record: `{key}` cannot change",
            origin=Origin(override=text),
            hint=f"`launch experiment=NAME {text}` makes a new run with it",
        )


def as_file_content(texts: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Overrides as an experiment file would have them: choices of groups, and the tree of values."""
    groups: dict[str, str] = {}
    tree: dict[str, Any] = {}
    for override in parse_overrides(texts):
        key, value = str(override.key_or_group), override.value()
        if key in GROUPS and isinstance(value, str):
            groups[key] = value
        else:
            overrides.put(overrides.key_path(key), value, tree)
    return groups, tree
