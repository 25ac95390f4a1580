"""The script of a run's job: what the specification asks for as options of sbatch, and a line that becomes the supervisor. Pure.

Options stand in `#SBATCH` lines, so that what `--dry-run` prints can be given to sbatch by hand.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError
from launcher.plan.cluster_request import RESERVED, as_text, is_superseded
from launcher.plan.launch_plan import LaunchPlan

_PLAIN = re.compile(r"[\w@%+=:,./\-\[\]]+")


def job_script(plan: LaunchPlan, *, job_name: str, log: str, argv: Sequence[str], shards: int | None = None) -> str:
    """The script that runs *argv* (a supervisor) with what *plan* asks for. *log* takes the words of Slurm and the supervisor,
    *shards* are the part of a GPU that it wants."""
    ours, users = _our_options(plan, job_name=job_name, log=log, shards=shards), _persons_options(plan.spec.cluster.sbatch)
    if "gres" in ours and "gres" in users:
        users["gres"] = f"{as_text(users['gres'])},{ours['gres']}"
    options = {**ours, **users}
    lines = [f"#SBATCH {_option(name, value)}" for name, value in options.items() if value is not False]
    # exec: `scancel --batch` and `--signal=B:` then reach the supervisor and nothing else.
    command = f"exec {shlex.join(argv)}"
    setup = plan.spec.cluster.setup
    # bash, as in the scripts that people have: `module` is a function of it. Nothing of it reaches the program but its traces.
    head, before = ("#!/bin/bash", ["set -e", *setup, ""]) if setup else ("#!/bin/sh", [])
    return "\n".join([head, *lines, "", *before, command, ""])


def _our_options(plan: LaunchPlan, *, job_name: str, log: str, shards: int | None) -> dict[str, Any]:
    spec = plan.spec
    resources = _resource_options(plan, shards)
    return {
        "job-name": job_name,
        "output": log.replace("%", "%%"),
        "open-mode": "append",
        "nodes": spec.nodes,
        "ntasks": spec.nodes,
        "signal": f"B:USR2@{min(65535, max(1, math.ceil(spec.grace)))}",
        "requeue" if spec.cluster.requeue else "no-requeue": True,
        # Where Slurm may not begin it again, the first node tells the others to end and says which one has failed.
        **({"no-kill": True} if spec.nodes > 1 and not spec.cluster.requeue else {}),
        **{name: value for name, value in _placement_options(spec).items() if value is not None},
        **{name: value for name, value in resources.items() if value and not is_superseded(name, spec.cluster.sbatch)},
    }


def _placement_options(spec: ExperimentSpec) -> dict[str, Any]:
    cluster = spec.cluster
    time = None if cluster.time is None else slurm_time(cluster.time)
    return {"partition": cluster.partition, "account": cluster.account, "qos": cluster.qos, "time": time}


def _resource_options(plan: LaunchPlan, shards: int | None) -> dict[str, Any]:
    spec, memory = plan.spec, plan.memory_bytes
    whole = spec.gpus == "all"
    return {
        "exclusive": whole,
        "cpus-per-task": None if whole and spec.cpus is None else math.ceil(plan.cpus),
        "gpus-per-node": int(plan.gpus),
        "gres": None if shards is None else f"shard:{shards}",
        "mem": ("0" if whole else None) if memory is None else f"{math.ceil(memory / (1 << 20))}M",
    }


def _persons_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in RESERVED and value is not None}


def _option(name: str, value: Any) -> str:
    if value is True:
        return f"--{name}"
    text = as_text(value)
    if "\n" in text:
        raise ConfigError(f"`cluster.sbatch.{name}` has a line break in it")
    return f"--{name}={text if _PLAIN.fullmatch(text) else _quote(text)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def slurm_time(seconds: float) -> str:
    """`1-02:03:04`: sbatch(1), `--time`. Slurm itself counts in whole minutes and rounds up."""
    minutes, second = divmod(math.ceil(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}"
