"""LaunchPlan ⇄ JSON data, for the supervisor, the record and `launch plan --json`.

A document has the fields of the dataclasses, in their order and under their names; a step carries its kind as `step`, a source of
files as `from`. What a document leaves out has its default, so that a field can be added without making old documents unreadable.
Reading is on the way of every launch, so nothing asks `typing` what a field is, except in the spec.
"""

from __future__ import annotations

from typing import Any

from launcher.config.spec import ExperimentSpec, from_json, to_json, to_record
from launcher.plan.launch_plan import CodeSnapshot, DataPin, GitState, LaunchPlan, Lock, LockedWheel
from runtime.build.plan import (
    BuildPlan,
    ContextFiles,
    CopyFiles,
    CopyIn,
    DebPackage,
    FetchedFile,
    ImageConfig,
    ImportImage,
    InlineFiles,
    InstallTree,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.light_dataclasses import replace
from runtime.oci.digest import Digest

FORMAT = 1

SnapshotFiles = tuple[tuple[str, int, str], ...]

_STEPS: dict[str, type] = {
    "unpack-debs": UnpackDebs,
    "import-image": ImportImage,
    "install-wheel": InstallWheel,
    "install-tree": InstallTree,
    "make-venv": MakeVenv,
    "run-command": RunCommand,
    "copy-in": CopyIn,
    "copy-files": CopyFiles,
    "make-directory": MakeDirectory,
}
_SOURCES: dict[str, type] = {"context": ContextFiles, "stage": StageFiles, "address": FetchedFile, "text": InlineFiles}
_STEP_NAMES = {kind: name for name, kind in _STEPS.items()}
_SOURCE_NAMES = {kind: name for name, kind in _SOURCES.items()}
_DIGESTS = ("spec_digest", "base_digest", "manifest_digest", "snapshot_digest", "digest")
"""Names of fields that hold a Digest."""


def to_document(plan: LaunchPlan) -> dict[str, Any]:
    """*plan* as JSON data; `from_document` gives the same plan back, without `notify`."""
    empty = replace(plan, build=BuildPlan((), plan.build.config))
    return {"format": FORMAT, **to_json(empty), "spec": to_record(plan.spec), "build": build_document(plan.build, plan.code)}


def from_document(document: dict[str, Any]) -> LaunchPlan:
    """The plan that `to_document` wrote. Trusted input: ours."""
    fields = {name: value for name, value in document.items() if name != "format"}
    code, lock = fields["code"], fields["lock"]
    code = _make(CodeSnapshot, code, git=None if code["git"] is None else GitState(**code["git"]))
    plan: LaunchPlan = _make(
        LaunchPlan,
        fields,
        spec=replace(from_json(ExperimentSpec, fields["spec"]), notify=None),  # see `to_record`
        build=build_from(fields["build"], code),
        code=code,
        lock=None if lock is None else _make(Lock, lock, wheels=tuple(LockedWheel(**wheel) for wheel in lock["wheels"])),
        data={name: _make(DataPin, pin) for name, pin in fields["data"].items()},
    )
    return plan


def build_document(build: BuildPlan, code: CodeSnapshot | None = None) -> dict[str, Any]:
    """*build* as JSON data. Files of *code* are not repeated in it."""
    snapshot = () if code is None else code.files
    return {
        "steps": [_step_document(step, snapshot) for step in build.steps],
        "stages": [[_step_document(step, snapshot) for step in stage] for stage in build.stages],
        "config": to_json(build.config),
        "source_date_epoch_s": build.source_date_epoch_s,
    }


def build_from(document: dict[str, Any], code: CodeSnapshot | None = None) -> BuildPlan:
    """The build plan that `build_document` wrote with the same *code*."""
    snapshot = () if code is None else code.files
    return BuildPlan(
        steps=tuple(_step(step, snapshot) for step in document["steps"]),
        config=_make(ImageConfig, document["config"]),
        source_date_epoch_s=document["source_date_epoch_s"],
        stages=tuple(tuple(_step(step, snapshot) for step in stage) for stage in document.get("stages", ())),
    )


def _step_document(step: Step, snapshot: SnapshotFiles) -> dict[str, Any]:
    """*step* as JSON data. A step with exactly the files *snapshot* refers to them: the list may be long, and the plan has it."""
    named = {"step": _STEP_NAMES[type(step)]}
    if isinstance(step, CopyIn | InstallTree) and step.files == snapshot:
        return {**named, **to_json(replace(step, files=())), "files": None}
    document = {**named, **to_json(step)}
    if isinstance(step, CopyFiles):
        document["source"] = {"from": _SOURCE_NAMES[type(step.source)], **document["source"]}
    return document


def _step(document: dict[str, Any], snapshot: SnapshotFiles) -> Step:
    """The step that `_step_document` wrote."""
    kind, fields = _kind_of(document, "step", _STEPS)
    made: dict[str, Any] = {}
    match document["step"]:
        case "unpack-debs":
            made["packages"] = tuple(DebPackage(**package) for package in fields["packages"])
        case "run-command":
            made["mounts"] = tuple(_make(RunMount, mount) for mount in fields.get("mounts", ()))
        case "copy-in" | "install-tree" if fields["files"] is None:
            made["files"] = snapshot
        case "copy-files":
            made["source"] = _make(*_kind_of(fields["source"], "from", _SOURCES))
    step: Step = _make(kind, fields, **made)
    return step


def _kind_of(document: dict[str, Any], key: str, kinds: dict[str, type]) -> tuple[type, dict[str, Any]]:
    """What the document says it is, and its fields."""
    name = document[key]
    if name not in kinds:
        raise ValueError(f"no such {'step' if key == 'step' else 'source of files'}: {name!r}")
    return kinds[name], {field: value for field, value in document.items() if field != key}


def _make(kind: type, fields: dict[str, Any], **made: Any) -> Any:
    """A *kind* with *fields* of JSON data: lists are tuples again, digests are Digests. *made* are fields that exist already."""
    values = {name: _tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    digests = {name: Digest(fields[name]) for name in _DIGESTS if name in fields}
    return kind(**{**values, **digests, **made})


def _tuple(listed: list[Any]) -> tuple[Any, ...]:
    return tuple(map(tuple, listed)) if listed and isinstance(listed[0], list) else tuple(listed)
