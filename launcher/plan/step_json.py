"""Steps of a build plan ⇄ JSON data. A step carries its kind as `step`; its fields have the names of `runtime.build.plan`.

What a document leaves out has its default, so that a field can be added without making old documents unreadable.
"""

from __future__ import annotations

from typing import Any

from launcher.config.spec import field_names
from runtime.build.plan import (
    ContextFiles,
    CopyFiles,
    CopyIn,
    DebPackage,
    FetchedFile,
    ImportImage,
    InlineFiles,
    InstallWheel,
    MakeDirectory,
    MakeVenv,
    RunCommand,
    RunMount,
    StageFiles,
    Step,
    UnpackDebs,
)
from runtime.oci.digest import Digest

SnapshotFiles = tuple[tuple[str, int, str], ...]


def step_document(step: Step, snapshot: SnapshotFiles) -> dict[str, Any]:
    """*step* as JSON data. A CopyIn of exactly the files *snapshot* refers to them: the list may be long, and the plan has it."""
    match step:
        case UnpackDebs():
            return {"step": "unpack-debs", **fields_of(step), "packages": [fields_of(package) for package in step.packages]}
        case ImportImage():
            return {"step": "import-image", **fields_of(step)}
        case InstallWheel():
            return {"step": "install-wheel", **fields_of(step)}
        case MakeVenv():
            return _venv_document(step)
        case RunCommand():
            return {
                "step": "run-command",
                **fields_of(step),
                "argv": list(step.argv),
                "env": [list(pair) for pair in step.env],
                "mounts": [{**fields_of(mount), "files": _lists(mount.files)} for mount in step.mounts],
                "drop": list(step.drop),
            }
        case CopyIn():
            files = None if step.files == snapshot else _lists(step.files)
            return {"step": "copy-in", **fields_of(step), "files": files}
        case CopyFiles():
            return {"step": "copy-files", **fields_of(step), "source": _source_document(step)}
        case MakeDirectory():
            return {"step": "make-directory", **fields_of(step)}


def step_of(document: dict[str, Any], snapshot: SnapshotFiles) -> Step:
    """The step that `step_document` wrote. Trusted input: ours."""
    values = {key: value for key, value in document.items() if key != "step"}
    match document["step"]:
        case "unpack-debs":
            return UnpackDebs(**{**values, "packages": tuple(DebPackage(**package) for package in values["packages"])})
        case "import-image":
            return ImportImage(**{**values, "manifest_digest": Digest(values["manifest_digest"])})
        case "install-wheel":
            return InstallWheel(**values)
        case "make-venv":
            rows = {
                "site_directories": tuple(values.get("site_directories", ())),
                "base_env": _tuples(values.get("base_env", [])),
            }
            return MakeVenv(**{**values, **rows})
        case "run-command":
            return _command(values)
        case "copy-in":
            files = snapshot if values["files"] is None else _tuples(values["files"])
            return CopyIn(**{**values, "files": files, "snapshot_digest": Digest(values["snapshot_digest"])})
        case "copy-files":
            return CopyFiles(**{**values, "source": _source(values["source"])})
        case "make-directory":
            return MakeDirectory(**values)
        case unknown:
            raise ValueError(f"no such step: {unknown!r}")


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass whose values are plain."""
    return {name: getattr(value, name) for name in field_names(type(value))}


def _venv_document(step: MakeVenv) -> dict[str, Any]:
    lists = {"site_directories": list(step.site_directories), "base_env": _lists(step.base_env)}
    return {"step": "make-venv", **fields_of(step), **lists}


def _command(values: dict[str, Any]) -> RunCommand:
    return RunCommand(
        **{
            **values,
            "argv": tuple(values["argv"]),
            "env": _tuples(values["env"]),
            "mounts": tuple(RunMount(**{**mount, "files": _tuples(mount["files"])}) for mount in values.get("mounts", ())),
            "drop": tuple(values["drop"]),
        }
    )


def _source_document(step: CopyFiles) -> dict[str, Any]:
    match step.source:
        case ContextFiles() as source:
            return {"from": "context", **fields_of(source), "files": _lists(source.files)}
        case StageFiles() as source:
            return {"from": "stage", **fields_of(source), "patterns": list(source.patterns)}
        case FetchedFile() as source:
            return {"from": "address", **fields_of(source)}
        case InlineFiles() as source:
            return {"from": "text", "files": _lists(source.files)}


def _source(document: dict[str, Any]) -> ContextFiles | StageFiles | FetchedFile | InlineFiles:
    values = {key: value for key, value in document.items() if key != "from"}
    match document["from"]:
        case "context":
            return ContextFiles(**{**values, "files": _tuples(values["files"])})
        case "stage":
            return StageFiles(**{**values, "patterns": tuple(values["patterns"])})
        case "address":
            return FetchedFile(**{**values, "digest": Digest(values["digest"])})
        case "text":
            return InlineFiles(_tuples(values["files"]))
        case unknown:
            raise ValueError(f"no such source of files: {unknown!r}")


def _lists(rows: tuple[tuple[Any, ...], ...]) -> list[list[Any]]:
    return [list(row) for row in rows]


def _tuples(rows: list[list[Any]]) -> Any:
    return tuple(tuple(row) for row in rows)
