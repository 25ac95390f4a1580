"""What a Hydra program asks for, and the specification of one of its jobs: the experiment's, with another command."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.config.spec import ExperimentSpec, Mount
from launcher.errors import ConfigError
from runtime.light_dataclasses import dataclass, replace

_INSIDE = "/opt/launch-hydra-job"
_STARTER = f"{_INSIDE}/start_job.py"
_TASKS = "/opt/launch-hydra-task"
_TASK_FILE = "task.pickle"
_MOST_BYTES = 64_000_000
_HERE = Path(__file__).resolve().parents[1] / "hydra_job"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Of all jobs."""

    overrides: tuple[str, ...]
    """Of the launch experiment: `experiment=digits`, `gpus=1`."""
    program: Mapping[str, str]
    """`file`, `module`, `function`, `object`: the ways in which it can be started."""
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
    pickle: bytes | None = None
    """The task, where no name leads to it, for the container: nobody loads it here."""
    no_pickle: str = ""
    """Why there is none."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> JobRequest:
        pickle = base64.b64decode(document["pickle"]) if "pickle" in document else None
        own = (tuple(document["overrides"]), tuple(document["arguments"]), document["params"])
        return cls(*own, pickle, document.get("no_pickle", ""))


def placeholder(settings: JobSettings) -> tuple[str, ...]:
    """The command with which the image is planned."""
    return (settings.python, _STARTER)


def job_spec(spec: ExperimentSpec, settings: JobSettings, job: JobRequest, tasks: Path) -> ExperimentSpec:
    """*spec* for one job: starts the program, has the job's parameters, and what starts it is mounted. *tasks*: where the job's
    pickle is, if it has one."""
    way = way_to_start(spec, settings.program)
    words = (*placeholder(settings), *way, *map(_literal, job.arguments))
    mounts = {"launch-hydra-job": Mount(str(_HERE), target=_INSIDE)}
    if way[0] == "object":
        mounts["launch-hydra-task"] = Mount(str(tasks), target=_TASKS)
    return replace(
        spec,
        command=words,
        params=dict(job.params),
        env={**spec.env, "LAUNCH_HYDRA_NODES": settings.nodes},
        data={**spec.data, **mounts},
    )


def way_to_start(spec: ExperimentSpec, program: Mapping[str, str]) -> tuple[str, str]:
    """The first words for `start_job.py`. Raises ConfigError where the image has not what they name."""
    if "module" in program:
        return "module", program["module"]
    root = Path(spec.code.root).resolve()
    file = Path(program["file"]) if "file" in program else None
    if file is not None and file.is_relative_to(root):
        return "file", str(file.relative_to(root))
    if "function" in program:
        return "function", program["function"]
    if "object" in program:
        return "object", f"{_TASKS}/{_TASK_FILE}"
    hint = f"`code: {{root: {file.parent}}}` in the experiment" if file is not None else None
    what = f"`{file}`" if file is not None else "what Python runs here"
    raise ConfigError(f"{what} is not in the code of experiment `{spec.name}`, which is `{root}`", hint=hint)


def write_task(settings: JobSettings, job: JobRequest, directory: Path) -> None:
    """Keep the pickle of *job* in *directory*, which the job's container sees, and a rerun's. Raises ConfigError without one."""
    if job.pickle is None:
        message = f"`{settings.program['object']}` cannot be copied into a container ({job.no_pickle})"
        hint = "a function of a module in `code.root`, or a program file there, is started by its name and need not be copied"
        raise ConfigError(message, hint=hint)
    directory.mkdir(parents=True)
    (directory / _TASK_FILE).write_bytes(job.pickle)


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
