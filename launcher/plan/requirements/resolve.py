"""Resolve requirements to one exact file each, for the image's Python and platform.

uv resolves on this machine, with this machine's proxy, CA bundle, index settings and credentials, so that no image needs them
(`uv_compile.py`). Nothing is built here: a requirement that has source distributions only is asked about in a container
(`sdists`). What the base has installed is taken as it is (`stub_wheels.py`). A resolution is recorded (`resolution_record.py`)
and reused while its inputs are unchanged; then nothing heavy is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.plan.bases.base_packages import packages_digest
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.requirement_lines import RequirementRequest, RequirementSet, read_requirements
from launcher.plan.requirements.resolution_record import find_recorded, record, settings_digest
from runtime.oci.digest import Digest, digest_json

if TYPE_CHECKING:
    from launcher.plan.bases.pinned_base import SdistBase
    from launcher.plan.requirements.pylock import Target
    from launcher.plan.requirements.uv_compile import Resolution
    from runtime.build.sources import WheelSource

_UV_DRIVER = "UV_CUDA_DRIVER_VERSION"


def resolve(
    request: RequirementRequest,
    python: BasePython,
    pinning: Pinning,
    *,
    sdists: SdistBase | None = None,
    cache_dir: Path | None = None,
) -> Lock:
    """The exact files that *request* means for *python*. *sdists* is where code of source distributions may run, *cache_dir* uv's
    cache where it isn't the user's."""
    wanted = read_requirements(request)
    if wanted.is_empty:
        return Lock(python.version, python.platform, (), lock_digest(()), "resolved")
    state, environ, refresh, _ = pinning
    directory = wanted.project.parent if wanted.project else request.base_dir
    torch = _choose_torch(request.cuda)
    has = [packages_digest(python.installed)] if python.installed else []
    asked = [request_digest(request, wanted, python), settings_digest(environ, directory), torch.looked_at]
    key = digest_json([*asked, os.fspath(directory), python.libstdcxx, *has])
    if not refresh:
        recorded = find_recorded(state.cache / "locks", key)
        if recorded is not None:
            return recorded
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.pylock import parse_target
    from launcher.plan.requirements.stub_wheels import StubWheels
    from launcher.plan.requirements.uv_compile import Resolver

    target = parse_target(python.version, python.platform)
    settings = index_settings(request.indexes, environ=environ, file_options=wanted.index_options, directory=directory)
    stubs = StubWheels(python.installed, target, backend=torch.backend, cache_dir=state.cache) if python.installed else None
    resolver = Resolver(
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
        libstdcxx=python.libstdcxx,
        stub_wheels=stubs,
    )
    lock = _lock_of(found := resolver.resolve(), target, python)
    watched = [place for place in (*settings.constraints, *settings.find_links) if "://" not in place]
    record(state.cache / "locks", key, lock, watched=watched, addresses=found.addresses)
    return lock


def _lock_of(found: Resolution, target: Target, python: BasePython) -> Lock:
    from launcher.plan.requirements.stub_wheels import replaced_packages, replacement_warnings

    versions = {wheel.name: wheel.version for wheel in found.wheels}
    return Lock(
        python.version,
        python.platform,
        found.wheels,
        lock_digest(found.wheels, found.provided),
        "resolved",
        torch=found.torch,
        warnings=(*found.warnings, *replacement_warnings(versions, python.installed, target)),
        provided=found.provided,
        replaced=replaced_packages(versions, python.installed),
    )


def request_digest(request: RequirementRequest, wanted: RequirementSet, python: BasePython) -> Digest:
    """Digest of what the experiment asks for, *wanted* being what was read of it: the same on every machine, so a lock file can
    carry it. This machine's pip and uv settings and the index's address take no part."""
    return digest_json([wanted.digest, python.minor, python.platform, request.cuda, request.indexes.exclude_newer])


def lock_digest(wheels: Sequence[LockedWheel], provided: Sequence[tuple[str, str]] = ()) -> Digest:
    """Digest of names, versions and hashes, and of what is *provided* by the base."""
    files = sorted([wheel.name, wheel.version, wheel.sha256] for wheel in wheels)
    return digest_json({"files": files, "provided": sorted(map(list, provided))} if provided else files)


@dataclass(frozen=True, slots=True)
class _TorchChoice:
    """Which build of torch is asked for."""

    backend: str | None
    """uv's word for it."""
    runs: Callable[[str], bool] | None
    """Whether a variant is wanted; None: any is."""
    env: dict[str, str] = field(default_factory=dict)
    """What uv is told of the machine."""
    looked_at: tuple[str | None, float | None] | None = None
    """What of the machine the answer depends on."""


def _choose_torch(cuda: str | None) -> _TorchChoice:
    if cuda == "auto":
        # Imported here: a lock without it needs no GPUs.
        from launcher.plan.requirements.torch_variant import cuda_machine

        machine = cuda_machine()
        env = {} if machine.driver_for_uv is None else {_UV_DRIVER: machine.driver_for_uv}
        return _TorchChoice(machine.backend, machine.runs, env, (machine.driver, machine.capability))
    backend = torch_backend(cuda)
    return _TorchChoice(backend, None if backend is None else lambda variant: variant == backend)


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
    lock: Lock, request: RequirementRequest, *, cache_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> WheelSource:
    """Where the files of *lock* come from: the same settings that resolved them. Reads pip's settings: call it only when
    something has to be downloaded."""
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.pylock import parse_target
    from launcher.plan.requirements.requirement_lines import project_indexes
    from runtime.build.sources import WheelSource

    wanted = read_requirements(request)
    options = [*wanted.index_options, *(project_indexes(wanted.project).options if wanted.project else ())]
    settings = index_settings(request.indexes, environ=environ, file_options=options, directory=request.base_dir)
    target = parse_target(lock.python, lock.platform)
    args = ["--python-version", target.python, "--python-platform", target.uv_platform, *settings.uv_args]
    if lock.torch is not None:
        args += ["--torch-backend", lock.torch]
    chosen_cache = cache_dir or (Path(environ["UV_CACHE_DIR"]) if environ.get("UV_CACHE_DIR") else None)
    return WheelSource(
        tuple(args),
        settings.env,
        requirements_text(lock.wheels),
        chosen_cache,
        sdist_network="host",
        glibc=target.libc_version if target.libc == "manylinux" else None,
        build_constraints=tuple(f"{name}=={version}" for name, version in lock.provided),
    )
