"""LaunchPlan ⇄ JSON data, for the supervisor, the record and `launch plan --json`. Its steps are `step_json.py`.

Reading is on the way of every launch, so it names the fields instead of asking `typing` for them, except in the spec.
"""

from __future__ import annotations

from typing import Any

from launcher.config.spec import ExperimentSpec, from_json, to_json
from launcher.plan.launch_plan import CodeSnapshot, DataPin, GitState, LaunchPlan, Lock, LockedWheel
from launcher.plan.step_json import fields_of, step_document, step_of
from runtime.build.plan import BuildPlan, ImageConfig
from runtime.oci.digest import Digest

FORMAT = 1

_LISTS = ("entrypoint", "command", "exposed_ports", "volumes", "shell", "onbuild")
"""Fields of ImageConfig that are tuples."""


def to_document(plan: LaunchPlan) -> dict[str, Any]:
    """*plan* as JSON data; `from_document` gives the same plan back."""
    return {
        "format": FORMAT,
        "spec": to_json(plan.spec),
        "spec_digest": plan.spec_digest,
        "build": build_document(plan.build, plan.code),
        "code": _code_document(plan.code),
        "lock": None if plan.lock is None else _lock_document(plan.lock),
        "base_digest": plan.base_digest,
        "argv": list(plan.argv),
        "threads": plan.threads,
        "cpus": plan.cpus,
        "memory_bytes": plan.memory_bytes,
        "gpus": plan.gpus,
        "processes": plan.processes,
        "data": {name: fields_of(pin) for name, pin in plan.data.items()},
        "overrides": list(plan.overrides),
        "origins": plan.origins,
        "warnings": list(plan.warnings),
    }


def from_document(document: dict[str, Any]) -> LaunchPlan:
    """The plan that `to_document` wrote. Trusted input: ours."""
    lock = document["lock"]
    code = _code(document["code"])
    return LaunchPlan(
        spec=from_json(ExperimentSpec, document["spec"]),
        spec_digest=Digest(document["spec_digest"]),
        build=build_from(document["build"], code),
        code=code,
        lock=None if lock is None else _lock(lock),
        base_digest=Digest(document["base_digest"]),
        argv=tuple(document["argv"]),
        threads=document["threads"],
        cpus=document["cpus"],
        memory_bytes=document["memory_bytes"],
        gpus=document["gpus"],
        processes=document["processes"],
        data={name: DataPin(**{**pin, "digest": Digest(pin["digest"])}) for name, pin in document["data"].items()},
        overrides=tuple(document["overrides"]),
        origins=document["origins"],
        warnings=tuple(document["warnings"]),
    )


def build_document(build: BuildPlan, code: CodeSnapshot | None = None) -> dict[str, Any]:
    """*build* as JSON data. Files of *code* are not repeated in it."""
    snapshot = () if code is None else code.files
    config = build.config
    return {
        "steps": [step_document(step, snapshot) for step in build.steps],
        "stages": [[step_document(step, snapshot) for step in stage] for stage in build.stages],
        "config": {**fields_of(config), **{name: list(getattr(config, name)) for name in _LISTS}},
        "source_date_epoch_s": build.source_date_epoch_s,
    }


def build_from(document: dict[str, Any], code: CodeSnapshot | None = None) -> BuildPlan:
    """The build plan that `build_document` wrote with the same *code*."""
    snapshot = () if code is None else code.files
    config = document["config"]
    return BuildPlan(
        steps=tuple(step_of(step, snapshot) for step in document["steps"]),
        config=ImageConfig(**{**config, **{name: tuple(config[name]) for name in _LISTS if name in config}}),
        source_date_epoch_s=document["source_date_epoch_s"],
        stages=tuple(tuple(step_of(step, snapshot) for step in stage) for stage in document.get("stages", ())),
    )


def _files(listed: list[list[Any]]) -> tuple[tuple[str, int, str], ...]:
    return tuple((path, mode, sha256) for path, mode, sha256 in listed)


def _code_document(code: CodeSnapshot) -> dict[str, Any]:
    return {
        **fields_of(code),
        "files": [list(file) for file in code.files],
        "git": None if code.git is None else fields_of(code.git),
        "warnings": list(code.warnings),
    }


def _code(document: dict[str, Any]) -> CodeSnapshot:
    return CodeSnapshot(
        root=document["root"],
        files=_files(document["files"]),
        digest=Digest(document["digest"]),
        size_bytes=document["size_bytes"],
        git=None if document["git"] is None else GitState(**document["git"]),
        warnings=tuple(document["warnings"]),
    )


def _lock_document(lock: Lock) -> dict[str, Any]:
    rows = {name: [list(row) for row in getattr(lock, name)] for name in ("provided", "replaced")}
    return {**fields_of(lock), "wheels": [fields_of(wheel) for wheel in lock.wheels], "warnings": list(lock.warnings), **rows}


def _lock(document: dict[str, Any]) -> Lock:
    wheels = tuple(LockedWheel(**wheel) for wheel in document["wheels"])
    rows: dict[str, Any] = {
        name: tuple((package, version) for package, version in document.get(name, ())) for name in ("provided", "replaced")
    }
    warnings = tuple(document.get("warnings", ()))
    return Lock(**{**document, "wheels": wheels, "digest": Digest(document["digest"]), "warnings": warnings, **rows})
