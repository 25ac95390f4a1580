"""Cache keys: the complete inputs of a step, hashed. Two steps with one key give the same layer.

`key_fields` is the readable form, kept beside the layer; `step_key` hashes it. A layer's
files depend on layers below only where `needs_parent` says so; their parent is the chain of diff_ids below (the image-spec's
ChainID), so a base that was built again with the same content keeps everything above it. Another stage counts with all inputs
of its steps (`stage_digests`), so that a key is known before that stage is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runtime.build.plan import (
    LAYER_MTIME_S,
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
from runtime.build.step_label import created_by
from runtime.oci.digest import Digest, digest_json
from runtime.store.records import Layer

# Raise a number when the code that makes such layers changes their content: old layers are then not found again.
UNPACK_DEBS_VERSION = 1
IMPORT_VERSION = 2
WHEEL_VERSION = 2
TREE_VERSION = 2
VENV_VERSION = 1
RUN_VERSION = 4
COPY_VERSION = 1
COPY_FILES_VERSION = 1
DIRECTORY_VERSION = 1
ASSEMBLY_VERSION = 2


Stages = Sequence[Digest] | Mapping[int, Digest]
"""Number of a stage → what of it counts."""


def needs_parent(step: Step) -> bool:
    """Whether the layer depends on the layers below it."""
    match step:
        case RunCommand() | MakeDirectory():
            return True
        case UnpackDebs():
            return step.onto_base
        case CopyFiles():
            return not step.link or has_names(step.owner)
    return False


def has_names(owner: str) -> bool:
    """Whether `USER[:GROUP]` has to be looked up in the layers below."""
    return any(part and not part.isdecimal() for part in owner.split(":"))


def chain(layers: Iterable[Layer]) -> Digest | None:
    """ChainID of *layers*, bottom first (config.md, "Layer ChainID"); None for no layers."""
    return chain_of(layer.diff_id for layer in layers)


def chain_of(diff_ids: Iterable[str]) -> Digest | None:
    chained: str | None = None
    for diff_id in diff_ids:
        chained = diff_id if chained is None else "sha256:" + hashlib.sha256(f"{chained} {diff_id}".encode()).hexdigest()
    return None if chained is None else Digest(chained)


def stage_digests(plan: BuildPlan) -> tuple[Digest, ...]:
    """For each stage of *plan* a digest of all that its files depend on."""
    digests: list[Digest] = []
    for steps in plan.stages:
        fields = [[needs_parent(step), own_fields(step, digests)] for step in steps]
        digests.append(digest_json({"kind": "stage", "steps": fields}))
    return tuple(digests)


def step_key(step: Step, parent: Digest | None, stages: Stages = ()) -> Digest:
    """The cache key of *step*. *parent* is `chain(layers below)`; it is left out where the layer doesn't depend on it. *stages*
    are the plan's `stage_digests`, for steps that refer to one."""
    return digest_json(key_fields(step, parent, stages))


def key_fields(step: Step, parent: Digest | None, stages: Stages = ()) -> dict[str, Any]:
    """Everything that the layer of *step* depends on, as JSON data."""
    fields = own_fields(step, stages)
    if needs_parent(step):
        fields["parent"] = parent
    return fields


def own_fields(step: Step, stages: Stages = ()) -> dict[str, Any]:
    """`key_fields` without the layers below."""
    match step:
        case UnpackDebs():
            packages = [_deb_fields(package) for package in step.packages]
            return {"kind": "unpack-debs", "version": UNPACK_DEBS_VERSION, "suite": step.suite, "packages": packages}
        case ImportImage():
            return {"kind": "import-image", "version": IMPORT_VERSION, "manifest": step.manifest_digest}
        case InstallWheel():
            return _wheel_fields(step)
        case MakeVenv():
            fields = {
                "kind": "make-venv",
                "version": VENV_VERSION,
                "interpreter": step.interpreter,
                "executable": step.executable,
                "python": step.version,
                "prefix": step.prefix,
            }
            fields |= {"system_site_packages": True} if step.system_site_packages else {}
            return fields | ({"site_directories": list(step.site_directories)} if step.site_directories else {})
        case RunCommand():
            return _command_fields(step, stages)
        case CopyIn():
            return {"kind": "copy-in", "version": COPY_VERSION, "target": step.target, "snapshot": step.snapshot_digest}
        case CopyFiles():
            return {
                "kind": "copy-files",
                "version": COPY_FILES_VERSION,
                "source": _source_fields(step.source, stages),
                "target": step.target,
                "owner": step.owner,
                "mode": step.mode,
                "unpack": step.unpack,
                "link": step.link,
                **({"needs_directory": True} if step.needs_directory else {}),
            }
        case MakeDirectory():
            return {"kind": "make-directory", "version": DIRECTORY_VERSION, "path": step.path, "owner": step.owner}


def _wheel_fields(step: InstallWheel) -> dict[str, Any]:
    place = {"interpreter": step.interpreter, "python": step.python, "prefix": step.prefix}
    more = {"built_on": step.built_on} if step.built_on else {}
    if isinstance(step, InstallTree):
        below = step.git.partition("#subdirectory=")[2]
        tree = {"name": step.name, "tree": step.sha256, "subdirectory": below, "target": step.target}
        return {"kind": "install-tree", "version": TREE_VERSION, **tree, **place, **more}
    wheel = {"name": step.name, "wheel_version": step.version, "filename": step.filename, "sha256": step.sha256}
    return {"kind": "install-wheel", "version": WHEEL_VERSION, **wheel, **place, **more}


def _command_fields(step: RunCommand, stages: Stages) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": "run-command",
        "version": RUN_VERSION,
        "argv": list(step.argv),
        "env": [list(pair) for pair in step.env],
        "network": step.network,
        "drop": list(step.drop),
    }
    more: dict[str, Any] = {
        "cwd": step.cwd if step.cwd != "/" else "",
        "user": step.user,
        "mounts": [_mount_fields(mount, stages) for mount in step.mounts],
        "stdin": step.stdin,
        "gpu": step.gpu,
    }
    return fields | {name: value for name, value in more.items() if value}


def _mount_fields(mount: RunMount, stages: Stages) -> dict[str, Any]:
    """What a command can see of *mount*. Not the content of caches and secrets: a layer must not depend on it."""
    fields: dict[str, Any] = {"kind": mount.kind, "target": mount.target, "source": mount.source}
    more: dict[str, Any] = {
        "stage": None if mount.stage is None else stages[mount.stage],
        "files": [list(file) for file in mount.files],
        "cache_id": mount.cache_id,
        "writable": not mount.readonly,
        "required": mount.required,
        "env": mount.env,
        "owner": [mount.uid, mount.gid] if mount.uid or mount.gid else None,
        "size_bytes": mount.size_bytes,
    }
    return fields | {"mode": mount.mode} | {name: value for name, value in more.items() if value}


def _source_fields(source: ContextFiles | StageFiles | FetchedFile | InlineFiles, stages: Stages) -> dict[str, Any]:
    match source:
        case ContextFiles():
            # Not where a file lies in the context: only its place in the image and what it is.
            return {"files": [[path, mode, sha256] for _, path, mode, sha256 in source.files], "single": source.single}
        case StageFiles():
            return {"stage": stages[source.stage], "patterns": list(source.patterns)}
        case FetchedFile():
            return {"digest": source.digest, "name": source.name}
        case InlineFiles():
            return {"inline": [list(file) for file in source.files]}


def _deb_fields(package: DebPackage) -> list[str]:
    # Where a .deb lies and how big it is do not change the layer; its sha256 says it all, the name is for people.
    return [package.name, package.version, package.architecture, package.sha256]


def plan_key(plan: BuildPlan) -> Digest:
    """The key under which the finished image of *plan* is remembered: one read instead of one for each step."""
    stages = stage_digests(plan)
    return digest_json(
        {
            "kind": "plan",
            "version": ASSEMBLY_VERSION,
            "layer_mtime_s": LAYER_MTIME_S,
            "steps": [[needs_parent(step), own_fields(step, stages)] for step in plan.steps],
            # They are in the image's history, and in no step's key.
            "labels": [created_by(step) for step in plan.steps if isinstance(step, RunCommand | CopyFiles | MakeDirectory)],
            "config": _config_fields(plan.config),
            "created": plan.source_date_epoch_s,
        }
    )


def _config_fields(config: ImageConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "env": config.env,
        "workdir": config.workdir,
        "entrypoint": list(config.entrypoint),
        "command": list(config.command),
        "labels": config.labels,
        "architecture": config.architecture,
    }
    more: dict[str, Any] = {
        "user": config.user,
        "exposed_ports": list(config.exposed_ports),
        "volumes": list(config.volumes),
        "stop_signal": config.stop_signal,
        "shell": list(config.shell),
        "healthcheck": config.healthcheck,
        "onbuild": list(config.onbuild),
    }
    return fields | {name: value for name, value in more.items() if value}
