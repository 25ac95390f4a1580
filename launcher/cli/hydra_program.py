"""What a Hydra program asks for, and the specification of one of its jobs: the experiment's, with another command."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.config.spec import ExperimentSpec, Mount
from launcher.errors import ConfigError

_INSIDE = "/opt/launch-hydra-job"
_STARTER = f"{_INSIDE}/start_job.py"
_MOST_BYTES = 64_000_000
_HERE = Path(__file__).resolve().parents[1] / "hydra_job"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Of all jobs."""

    overrides: tuple[str, ...]
    """Of the launch experiment: `experiment=digits`, `gpus=1`."""
    program: Mapping[str, str]
    """`file`, `module`, `function`: the ways in which it can be started."""
    python: str
    nodes: str
    parallel: int | None
    name: str | None
    command_line: tuple[str, ...]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> JobSettings:
        lists = {name: tuple(document[name]) for name in ("overrides", "command_line")}
        return cls(**{**document, **lists})


@dataclass(frozen=True, slots=True)
class JobRequest:
    overrides: tuple[str, ...]
    arguments: tuple[str, ...]
    params: Mapping[str, Any]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> JobRequest:
        return cls(tuple(document["overrides"]), tuple(document["arguments"]), document["params"])


def placeholder(settings: JobSettings) -> tuple[str, ...]:
    """The command with which the image is planned."""
    return (settings.python, _STARTER)


def job_spec(spec: ExperimentSpec, settings: JobSettings, job: JobRequest) -> ExperimentSpec:
    """*spec* for one job: starts the program, has the job's parameters, and what starts it is mounted."""
    words = (*placeholder(settings), *_start(spec, settings.program), *map(_literal, job.arguments))
    return replace(
        spec,
        command=words,
        params=dict(job.params),
        env={**spec.env, "LAUNCH_HYDRA_NODES": settings.nodes},
        data={**spec.data, "launch-hydra-job": Mount(str(_HERE), target=_INSIDE)},
    )


def _start(spec: ExperimentSpec, program: Mapping[str, str]) -> tuple[str, str]:
    if "module" in program:
        return "module", program["module"]
    root = Path(spec.code.root).resolve()
    file = Path(program["file"]) if "file" in program else None
    if file is not None and file.is_relative_to(root):
        return "file", str(file.relative_to(root))
    if "function" in program:
        return "function", program["function"]
    hint = f"`code: {{root: {file.parent}}}` in the experiment" if file is not None else None
    what = f"`{file}`" if file is not None else "what Python runs here"
    raise ConfigError(f"{what} is not in the code of experiment `{spec.name}`, which is `{root}`", hint=hint)


def _literal(word: str) -> str:
    """`${a}` means something to the program's Hydra, not to our command."""
    return re.sub(r"\$\{[^${}]*\}", r"\\\g<0>", word)


def read_result(outputs: Path) -> dict[str, Any]:
    """What `launch_job` left; empty when the program ended without a word. The container wrote it, so it may be anything."""
    try:
        with open(outputs / "hydra_job.json", opener=_no_link) as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
