"""Resolve requirements to one exact file each, for the image's Python and platform.

uv resolves on this machine, with this machine's proxy, CA bundle, index settings and credentials, so that no image needs them
(`uv_question.py`). Nothing is built here: a requirement that has source distributions only is asked about in a container
(`sdists`). What the base has installed is taken as it is (`stub_wheels.py`). A resolution is recorded (`resolution_record.py`)
and reused while its inputs are unchanged; then nothing heavy is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.spec import Index
from launcher.plan.bases.base_packages import BasePackage, packages_digest
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.requirement_lines import RequirementSet, read_requirements
from launcher.plan.requirements.resolution_record import find_recorded, record, settings_digest
from runtime.oci.digest import Digest, digest_json

if TYPE_CHECKING:
    from launcher.plan.bases.pinned_base import SdistBase
    from launcher.plan.requirements.pylock import Target
    from launcher.plan.requirements.uv_question import Answer
    from runtime.build.sources import WheelSource
    from runtime.state_dir import StateDir

_UV_DRIVER = "UV_CUDA_DRIVER_VERSION"


def resolve(
    requirements: Sequence[str] | str | Path,
    *,
    python: str,
    platform: str,
    libstdcxx: int | None = None,
    index: Index,
    cuda: str | None,
    state: StateDir,
    cache_dir: Path | None = None,
    base_dir: Path | None = None,
    extra: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    refresh: bool = False,
    sdists: SdistBase | None = None,
    installed: Sequence[BasePackage] = (),
) -> Lock:
    """The exact files that *requirements* and *extra* mean for *python* (`3.13.5`) on *platform* (`x86_64-manylinux_2_41`).

    *libstdcxx* is n of the newest `GLIBCXX_3.4.n` there: with the platform's glibc what a local build's libraries must do with.
    *installed* is what the base has, *base_dir* where relative paths in *requirements* start; *refresh* asks the index always.
    """
    base_dir = base_dir or Path.cwd()
    wanted = read_requirements(requirements, base_dir=base_dir, extra=extra)
    request = request_digest(wanted, python=python, platform=platform, index=index, cuda=cuda)
    if wanted.empty:
        return Lock(python, platform, (), lock_digest(()), "resolved")
    directory = wanted.project.parent if wanted.project else base_dir
    torch = _torch_wish(cuda)
    has = [packages_digest(installed)] if installed else []
    key = digest_json([request, settings_digest(environ, directory), torch.looked_at, os.fspath(directory), libstdcxx, *has])
    if not refresh:
        recorded = find_recorded(state.cache / "locks", key)
        if recorded is not None:
            return recorded
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.pylock import parse_target
    from launcher.plan.requirements.stub_wheels import StubWheels
    from launcher.plan.requirements.uv_question import Question

    target = parse_target(python, platform)
    settings = index_settings(index, environ=environ, file_options=wanted.index_options, directory=directory)
    question = Question(
        wanted=wanted,
        target=target,
        settings=settings,
        backend=torch.backend,
        runs=torch.runs,
        directory=directory,
        environ={**environ, **torch.env},
        scratch_dir=state.cache,
        cache_dir=cache_dir,
        sdists=sdists,
        libstdcxx=libstdcxx,
        stub_wheels=StubWheels(installed, target, backend=torch.backend, cache_dir=state.cache) if installed else None,
    )
    lock = _lock_of(answer := question.answer(), target, platform, installed)
    watched = [place for place in (*settings.constraints, *settings.find_links) if "://" not in place]
    record(state.cache / "locks", key, lock, watched=watched, addresses=answer.addresses)
    return lock


def _lock_of(answer: Answer, target: Target, platform: str, installed: Sequence[BasePackage]) -> Lock:
    from launcher.plan.requirements.stub_wheels import replaced_packages, replacement_warnings

    versions = {wheel.name: wheel.version for wheel in answer.wheels}
    return Lock(
        target.python,
        platform,
        answer.wheels,
        lock_digest(answer.wheels, answer.provided),
        "resolved",
        torch=answer.torch,
        warnings=(*answer.warnings, *replacement_warnings(versions, installed, target)),
        provided=answer.provided,
        replaced=replaced_packages(versions, installed),
    )


def request_digest(wanted: RequirementSet, *, python: str, platform: str, index: Index, cuda: str | None) -> Digest:
    """Digest of what the experiment asks for: the same on every machine, so a lock file can carry it. This machine's pip and
    uv settings and the index's address take no part."""
    minor = ".".join(python.split(".")[:2])
    return digest_json([wanted.digest, minor, platform, cuda, index.exclude_newer])


def lock_digest(wheels: Sequence[LockedWheel], provided: Sequence[tuple[str, str]] = ()) -> Digest:
    """Digest of names, versions and hashes, and of what is *provided* by the base."""
    files = sorted([wheel.name, wheel.version, wheel.sha256] for wheel in wheels)
    return digest_json({"files": files, "provided": sorted(map(list, provided))} if provided else files)


@dataclass(frozen=True, slots=True)
class _TorchWish:
    """Which build of torch is asked for."""

    backend: str | None
    """uv's word for it."""
    runs: Callable[[str], bool] | None
    """Whether a variant is wanted; None: any is."""
    env: dict[str, str] = field(default_factory=dict)
    """What uv is told of the machine."""
    looked_at: tuple[str | None, float | None] | None = None
    """What of the machine the answer depends on."""


def _torch_wish(cuda: str | None) -> _TorchWish:
    if cuda == "auto":
        # Imported here: a lock without it needs no GPUs.
        from launcher.plan.requirements.torch_variant import this_machine

        machine = this_machine()
        env = {} if machine.told_driver is None else {_UV_DRIVER: machine.told_driver}
        return _TorchWish(machine.backend, machine.runs, env, (machine.driver, machine.capability))
    backend = torch_backend(cuda)
    return _TorchWish(backend, None if backend is None else lambda variant: variant == backend)


def torch_backend(cuda: str | None) -> str | None:
    """`image.cuda` in uv's words: `12.8` → `cu128`."""
    if cuda is None or cuda in ("auto", "cpu"):
        return cuda
    return "cu" + cuda.replace(".", "")


def requirements_text(wheels: Sequence[LockedWheel]) -> str:
    """Requirements file syntax: one line for each file, with its hash. `===`, since `==2.13.0` is `2.13.0+cpu` as well (PEP 440),
    and uv would try that first where a find-links directory has it."""
    return "".join(
        f"{wheel.name} @ {wheel.url} --hash=sha256:{wheel.sha256}\n"
        if wheel.url
        else f"{wheel.name}==={wheel.version} --hash=sha256:{wheel.sha256}\n"
        for wheel in wheels
    )


def wheel_source(
    lock: Lock,
    requirements: Sequence[str] | str | Path,
    *,
    index: Index,
    base_dir: Path | None = None,
    extra: Sequence[str] = (),
    cache_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    sdist_network: str = "host",
) -> WheelSource:
    """Where the files of *lock* come from: the same settings that resolved them. Reads pip's settings: call it only when
    something has to be downloaded."""
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.pylock import parse_target
    from launcher.plan.requirements.requirement_lines import project_indexes
    from runtime.build.sources import WheelSource

    base_dir = base_dir or Path.cwd()
    wanted = read_requirements(requirements, base_dir=base_dir, extra=extra)
    options = [*wanted.index_options, *(project_indexes(wanted.project).options if wanted.project else ())]
    settings = index_settings(index, environ=environ, file_options=options, directory=base_dir)
    target = parse_target(lock.python, lock.platform)
    args = ["--python-version", target.python, "--python-platform", target.uv_platform, *settings.uv_args]
    if lock.torch is not None:
        args += ["--torch-backend", lock.torch]
    chosen_cache = cache_dir or (Path(environ["UV_CACHE_DIR"]) if environ.get("UV_CACHE_DIR") else None)
    glibc = target.libc_version if target.libc == "manylinux" else None
    built_against = tuple(f"{name}=={version}" for name, version in lock.provided)
    return WheelSource(
        tuple(args), settings.env, requirements_text(lock.wheels), chosen_cache, sdist_network, glibc, built_against
    )
