"""spec_digest: the identity of an experiment's result. Two plans with one digest should give the same numbers.

In it: whatever can change the result. Not in it: names, description, tags, where it is recorded, placed or searched, time and
memory limits, caches, secrets, addresses of indexes and mirrors, paths on this machine. (Else a changed tracking address
would make "another experiment".)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from launcher.plan.launch_plan import LaunchPlan
from runtime.build.cache_key import own_fields
from runtime.build.plan import CopyFiles, MakeDirectory, RunCommand, Step, UnpackDebs
from runtime.light_dataclasses import asdict
from runtime.oci.digest import Digest, digest_json

_FORMAT = 1


def spec_digest(plan: LaunchPlan) -> Digest:
    """Digest of everything in *plan* that can change the result."""
    spec = plan.spec
    stages: list[Digest] = []
    for stage in plan.build.stages:
        stages.append(digest_json([_content(step, stages) for step in stage]))
    steps = (_own_content(step, stages) for step in plan.build.steps)
    return digest_json(
        {
            "format": _FORMAT,
            "base": plan.base_digest,
            "steps": [content for content in steps if content is not None],
            "lock": None if plan.lock is None else plan.lock.digest,
            "image_env": spec.image.env,
            "code": plan.code.digest,
            "argv": list(plan.argv),
            "workdir": plan.build.config.workdir,
            "params": _in_json(spec.params),
            "seed": spec.seed,
            "deterministic": spec.deterministic,
            "processes": plan.processes,
            "env": spec.env,
            "gpus": plan.gpus,
            "gpu": {name: value for name, value in asdict(spec.gpu).items() if name not in ("require", "stop_when_idle")},
            **({"devices": list(spec.devices)} if spec.devices else {}),
            "nodes": spec.nodes,
            "threads": plan.threads,
            # Who makes a network of the run's own, and what it is called, changes nothing.
            "network": spec.network if spec.network in ("none", "host") else "bridge",
            "data": {name: pin.digest for name, pin in plan.data.items()},
        }
    )


def _content(step: Step, stages: Sequence[Digest]) -> dict[str, Any]:
    """What the files of *step* depend on, without the version of the code that makes them."""
    return {name: value for name, value in own_fields(step, stages).items() if name != "version"}


def _own_content(step: Step, stages: Sequence[Digest]) -> Any:
    """What *step* adds beside base, lock and code, which have digests of their own."""
    match step:
        case UnpackDebs(onto_base=True):
            return ["debs", [[package.name, package.version, package.sha256] for package in step.packages]]
        case RunCommand():
            fields = own_fields(step, stages)
            more = {name: fields[name] for name in ("cwd", "user", "mounts", "stdin", "gpu") if name in fields}
            return ["run", list(step.argv), [list(pair) for pair in step.env], *([more] if more else [])]
        case CopyFiles() | MakeDirectory():
            return _content(step, stages)
    return None


def _in_json(value: Any) -> Any:
    """*value* with words for the numbers that JSON has not."""
    match value:
        case dict():
            return {key: _in_json(each) for key, each in value.items()}
        case list() | tuple():
            return [_in_json(each) for each in value]
        case float() if not math.isfinite(value):
            return {"float": str(value)}
    return value
