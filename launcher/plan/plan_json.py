"""LaunchPlan ⇄ JSON data, for the supervisor, the record and `launch plan --json`. Steps carry their kind as `step`.

Reading is on the way of every launch, so it names the fields instead of asking `typing` for them, except in the spec.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from launcher.config.spec import ExperimentSpec, from_json, to_json
from launcher.plan.launch_plan import CodeSnapshot, DataPin, GitState, LaunchPlan, Lock, LockedWheel
from runtime.build.plan import (
    BuildPlan,
    CopyIn,
    DebPackage,
    ImageConfig,
    ImportImage,
    InstallWheel,
    MakeVenv,
    RunCommand,
    Step,
    UnpackDebs,
)
from runtime.oci.digest import Digest

FORMAT = 1


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
        "data": {name: _fields_of(pin) for name, pin in plan.data.items()},
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


def _fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass whose values are plain."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def build_document(build: BuildPlan, code: CodeSnapshot | None = None) -> dict[str, Any]:
    """*build* as JSON data; the list of files that *code* has is left out."""
    config = build.config
    return {
        "steps": [_step_document(step, code) for step in build.steps],
        "config": {**_fields_of(config), "entrypoint": list(config.entrypoint), "command": list(config.command)},
        "source_date_epoch_s": build.source_date_epoch_s,
    }


def build_from(document: dict[str, Any], code: CodeSnapshot | None = None) -> BuildPlan:
    """The plan that `build_document` wrote."""
    config = document["config"]
    return BuildPlan(
        steps=tuple(_step(step, code) for step in document["steps"]),
        config=ImageConfig(**{**config, "entrypoint": tuple(config["entrypoint"]), "command": tuple(config["command"])}),
        source_date_epoch_s=document["source_date_epoch_s"],
    )


def _step_document(step: Step, code: CodeSnapshot | None) -> dict[str, Any]:
    match step:
        case UnpackDebs():
            return {"step": "unpack-debs", **_fields_of(step), "packages": [_fields_of(package) for package in step.packages]}
        case ImportImage():
            return {"step": "import-image", **_fields_of(step)}
        case InstallWheel():
            return {"step": "install-wheel", **_fields_of(step)}
        case MakeVenv():
            return {"step": "make-venv", **_fields_of(step)}
        case RunCommand():
            return {
                "step": "run-command",
                **_fields_of(step),
                "argv": list(step.argv),
                "env": [list(pair) for pair in step.env],
                "drop": list(step.drop),
                "owners": [list(owner) for owner in step.owners],
            }
        case CopyIn():
            # The snapshot's list may be long, and the plan has it already.
            files = None if code is not None and step.files == code.files else [list(file) for file in step.files]
            return {"step": "copy-in", **_fields_of(step), "files": files}


def _step(document: dict[str, Any], code: CodeSnapshot | None) -> Step:
    values = {key: value for key, value in document.items() if key != "step"}
    match document["step"]:
        case "unpack-debs":
            return UnpackDebs(**{**values, "packages": tuple(DebPackage(**package) for package in values["packages"])})
        case "import-image":
            return ImportImage(**{**values, "manifest_digest": Digest(values["manifest_digest"])})
        case "install-wheel":
            return InstallWheel(**values)
        case "make-venv":
            return MakeVenv(**values)
        case "run-command":
            env = tuple((name, value) for name, value in values["env"])
            owners = tuple((path, uid, gid) for path, uid, gid in values["owners"])
            drop = tuple(values["drop"])
            return RunCommand(**{**values, "argv": tuple(values["argv"]), "env": env, "drop": drop, "owners": owners})
        case "copy-in":
            files = code.files if code is not None and values["files"] is None else _files(values["files"])
            return CopyIn(**{**values, "files": files, "snapshot_digest": Digest(values["snapshot_digest"])})
        case unknown:
            raise ValueError(f"no such step: {unknown!r}")


def _files(listed: list[list[Any]]) -> tuple[tuple[str, int, str], ...]:
    return tuple((path, mode, sha256) for path, mode, sha256 in listed)


def _code_document(code: CodeSnapshot) -> dict[str, Any]:
    return {
        **_fields_of(code),
        "files": [list(file) for file in code.files],
        "git": None if code.git is None else _fields_of(code.git),
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
    return {**_fields_of(lock), "wheels": [_fields_of(wheel) for wheel in lock.wheels], "warnings": list(lock.warnings)}


def _lock(document: dict[str, Any]) -> Lock:
    wheels = tuple(LockedWheel(**wheel) for wheel in document["wheels"])
    warnings = tuple(document.get("warnings", ()))
    return Lock(**{**document, "wheels": wheels, "digest": Digest(document["digest"]), "warnings": warnings})
