"""Cache keys: the complete inputs of a step, hashed. Two steps with one key give the same layer.

`key_fields` is the readable form (`miss_reason.py` compares it for `launch plan --explain`); `step_key` hashes it. A layer's
files depend on layers below only for RunCommand and UnpackDebs(onto_base); their parent is the chain of diff_ids below (the
image-spec's ChainID), so a base that was built again with the same content keeps everything above it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from runtime.build.plan import (
    LAYER_MTIME_S,
    VENV,
    BuildPlan,
    CopyIn,
    DebPackage,
    ImportImage,
    InstallWheel,
    MakeVenv,
    RunCommand,
    Step,
    UnpackDebs,
)
from runtime.oci.digest import Digest, digest_json
from runtime.store.records import Layer

# Raise a number when the code that makes such layers changes their content: old layers are then not found again.
UNPACK_DEBS_VERSION = 1
IMPORT_VERSION = 1
WHEEL_VERSION = 1
VENV_VERSION = 1
RUN_VERSION = 1
COPY_VERSION = 1
ASSEMBLY_VERSION = 1


def needs_parent(step: Step) -> bool:
    """Whether the layer depends on the layers below it."""
    return isinstance(step, RunCommand) or (isinstance(step, UnpackDebs) and step.onto_base)


def chain(layers: Iterable[Layer]) -> Digest | None:
    """ChainID of *layers*, bottom first (config.md, "Layer ChainID"); None for no layers."""
    return chain_of(layer.diff_id for layer in layers)


def chain_of(diff_ids: Iterable[str]) -> Digest | None:
    chained: str | None = None
    for diff_id in diff_ids:
        chained = diff_id if chained is None else "sha256:" + hashlib.sha256(f"{chained} {diff_id}".encode()).hexdigest()
    return None if chained is None else Digest(chained)


def step_key(step: Step, parent: Digest | None) -> Digest:
    """The cache key of *step*. *parent* is `chain(layers below)`; it is left out where the layer doesn't depend on it."""
    return digest_json(key_fields(step, parent))


def key_fields(step: Step, parent: Digest | None) -> dict[str, Any]:
    """Everything that the layer of *step* depends on, as JSON data."""
    fields = _own_fields(step)
    if needs_parent(step):
        fields["parent"] = parent
    return fields


def _own_fields(step: Step) -> dict[str, Any]:
    match step:
        case UnpackDebs():
            packages = [_deb_fields(package) for package in step.packages]
            return {"kind": "unpack-debs", "version": UNPACK_DEBS_VERSION, "suite": step.suite, "packages": packages}
        case ImportImage():
            return {"kind": "import-image", "version": IMPORT_VERSION, "manifest": step.manifest_digest}
        case InstallWheel():
            return {
                "kind": "install-wheel",
                "version": WHEEL_VERSION,
                "name": step.name,
                "wheel_version": step.version,
                "filename": step.filename,
                "sha256": step.sha256,
                "interpreter": step.interpreter,
                "python": step.python,
                "prefix": VENV,
            }
        case MakeVenv():
            return {
                "kind": "make-venv",
                "version": VENV_VERSION,
                "interpreter": step.interpreter,
                "executable": step.executable,
                "python": step.version,
                "prefix": VENV,
            }
        case RunCommand():
            return {
                "kind": "run-command",
                "version": RUN_VERSION,
                "argv": list(step.argv),
                "env": [list(pair) for pair in step.env],
                "network": step.network,
                "drop": list(step.drop),
                "owners": [list(owner) for owner in step.owners],
            }
        case CopyIn():
            return {"kind": "copy-in", "version": COPY_VERSION, "target": step.target, "snapshot": step.snapshot_digest}


def _deb_fields(package: DebPackage) -> list[str]:
    # Where a .deb lies and how big it is do not change the layer; its sha256 says it all, the name is for people.
    return [package.name, package.version, package.architecture, package.sha256]


def plan_key(plan: BuildPlan) -> Digest:
    """The key under which the finished image of *plan* is remembered: one read instead of one for each step."""
    config = plan.config
    return digest_json(
        {
            "kind": "plan",
            "version": ASSEMBLY_VERSION,
            "layer_mtime_s": LAYER_MTIME_S,
            "steps": [[needs_parent(step), _own_fields(step)] for step in plan.steps],
            "config": {
                "env": config.env,
                "workdir": config.workdir,
                "entrypoint": list(config.entrypoint),
                "command": list(config.command),
                "labels": config.labels,
                "architecture": config.architecture,
            },
            "created": plan.source_date_epoch_s,
        }
    )
