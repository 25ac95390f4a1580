"""Which lock a launch uses: the file beside the experiment while it is current, else a resolution (recorded or new).

Lock files: `digits.lock` beside `digits.yaml`, or one for each variant of `image.cuda` (`resnet.cpu.lock`,
`resnet.cu128.lock`), so that a lock made on a laptop doesn't put the CPU's torch on a GPU machine. PEP 751 has its own
names: `pylock.digits.toml`, `pylock.resnet-cpu.toml`. Resolving is `resolve.py`, writing them `write_locks.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from launcher.config.spec import ExperimentSpec
from launcher.plan.bases.pinned_base import BasePython, SdistBase
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock
from launcher.plan.origins import shown_path
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import resolve, torch_backend
from runtime.light_dataclasses import replace


class ChosenLock(NamedTuple):
    lock: Lock
    warnings: tuple[str, ...] = ()


def request_of(spec: ExperimentSpec) -> RequirementRequest:
    """What *spec* requires."""
    return RequirementRequest.of(spec.image, spec.code.root)


def has_requirements(spec: ExperimentSpec) -> bool:
    return not request_of(spec).is_empty


def choose_lock(
    spec: ExperimentSpec,
    python: BasePython,
    pinning: Pinning,
    *,
    experiment_file: Path | None,
    sdists: SdistBase | None = None,
) -> ChosenLock:
    """The lock of *spec*'s requirements. *experiment_file* is the YAML that a lock file lies beside."""
    warnings: list[str] = []
    if experiment_file is not None and not pinning.refresh:
        for path in lock_files(experiment_file, torch_backend(spec.image.cuda)):
            lock, why = _current(path, request_of(spec), python)
            if lock is not None:
                return ChosenLock(lock)
            if why is not None:
                warnings.append(_not_used(path, why, spec, python, experiment_file.stem))
    lock = resolve(request_of(spec), python, pinning, sdists=sdists)
    return ChosenLock(lock, (*warnings, *lock.warnings))


def lock_files(experiment_file: Path, backend: str | None) -> list[Path]:
    """Lock files that *experiment_file* may have for a torch *backend* (`cpu`, `cu128`, `auto`, None), the best first."""
    stem = experiment_file.stem
    variants: list[str | None] = [backend]
    if backend == "auto":
        # Which variant `auto` means here is the resolver's to say; every one that was locked is a candidate.
        # The newest CUDA comes first.
        variants = [*sorted((path.name.split(".")[1] for path in experiment_file.parent.glob(f"{stem}.c*.lock")), reverse=True)]
    files: list[Path] = []
    for variant in variants:
        files += [lock_file(experiment_file, variant, pylock=pylock) for pylock in (False, True)]
    return files


def lock_file(experiment_file: Path, variant: str | None, *, pylock: bool) -> Path:
    """Where the lock of *variant* lies."""
    stem = experiment_file.stem
    if pylock:
        return experiment_file.with_name(f"pylock.{stem}{f'-{variant}' if variant else ''}.toml")
    return experiment_file.with_name(f"{stem}{f'.{variant}' if variant else ''}.lock")


def _current(path: Path, request: RequirementRequest, python: BasePython) -> tuple[Lock | None, str | None]:
    if not path.exists():
        return None, None
    from launcher.plan.requirements.lock_file import current_lock

    lock, why = current_lock(path, request, python)
    if lock is not None and request.cuda == "auto" and not _fits_driver(lock.torch):
        return None, None
    return lock, why


def _fits_driver(variant: str | None) -> bool:
    """Whether a lock that was made for `auto` elsewhere suits this machine: CPU builds without a driver, and with one a CUDA
    build that its GPUs run."""
    from launcher.plan.requirements.torch_variant import cuda_machine

    machine = cuda_machine()
    if variant in (None, "cpu"):
        return machine.driver is None
    return machine.driver is not None and machine.runs(variant or "")


def _not_used(path: Path, why: str, spec: ExperimentSpec, python: BasePython, experiment: str) -> str:
    # Not above: it brings YAML, which a launch that changes nothing does without.
    from launcher.config.overrides import WITH_GROUP

    name = f"the lock `{shown_path(path)}`"
    groups = {group: what for group, what in spec.image.groups.items() if group != WITH_GROUP}
    if WITH_GROUP in spec.image.groups:
        without = replace(spec, image=replace(spec.image, groups=groups))
        if _current(path, request_of(without), python)[0] is not None:
            return f"{name} is not used for this launch: it doesn't hold what `--with` adds, so all versions are resolved"
    return f"{name} has drifted and is not used: {why} (`launch lock experiment={experiment}` makes it again)"
