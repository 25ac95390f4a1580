"""Resolve requirements to one exact file each, for the image's Python and platform.

uv resolves on this machine, with this machine's proxy, CA bundle, index settings and credentials, so that no image needs them
(`uv_compile.py`). Nothing is built here: a requirement that has source distributions only is asked about in a container
(`sdists`). What the base has installed is taken as it is (`stub_wheels.py`). A resolution is recorded (`resolution_record.py`)
and reused while its inputs are unchanged; then nothing heavy is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.plan.bases.base_packages import packages_digest
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.requirement_lines import RequirementRequest, RequirementSet, read_requirements
from launcher.plan.requirements.resolution_record import (
    find_recorded,
    older_settings_digest,
    record,
    relative_place,
    settings_digest,
)
from runtime.http.proxies import without_user_info
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest, digest_json

if TYPE_CHECKING:
    from launcher.plan.bases.pinned_base import SdistBase
    from launcher.plan.requirements.target import Target
    from launcher.plan.requirements.uv_compile import Resolution
    from runtime.build.sources import WheelSource

_UV_DRIVER = "UV_CUDA_DRIVER_VERSION"


def resolve(
    request: RequirementRequest,
    python: BasePython,
    pinning: Pinning,
    *,
    sdists: SdistBase | None = None,
) -> Lock:
    """The exact files that *request* means for *python*. *sdists* is where code of source distributions may run."""
    wanted = read_requirements(request)
    if wanted.is_empty:
        return Lock(python.version, python.platform, (), lock_digest(()), "resolved")
    state, environ, refresh = pinning[:3]
    directory = wanted.project.path.parent if wanted.project else request.base_dir
    torch = _choose_torch(request.cuda)
    has = [torch.looked_at, python.libstdcxx, *([packages_digest(python.installed)] if python.installed else [])]
    records = state.cache / "locks"
    key = digest_json(
        [request_digest(request, wanted, python), settings_digest(environ, directory), _index_places(request, directory), *has]
    )
    if not refresh:
        recorded = find_recorded(records, key, directory=directory) or find_recorded(
            records, _older_key(request, wanted, python, environ, directory, has), directory=directory
        )
        if recorded is not None:
            return recorded
    from launcher.plan.requirements.file_hashes import refuse_other_files
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.source_trees import source_trees
    from launcher.plan.requirements.stub_wheels import StubWheels
    from launcher.plan.requirements.target import parse_target
    from launcher.plan.requirements.uv_compile import Resolver

    target = parse_target(python.version, python.platform)
    settings = index_settings(request.indexes, environ=environ, file_options=wanted.index_options, directory=directory)
    stubs = StubWheels(python.installed, target, backend=torch.backend, cache_dir=state.cache) if python.installed else None
    with (
        pinning.working("resolving requirements"),
        source_trees(request.base_dir, wanted.trees, environ=environ, cache_dir=state.cache) as trees,
    ):
        found = Resolver(
            wanted=wanted,
            target=target,
            settings=settings,
            backend=torch.backend,
            runs=torch.runs,
            directory=directory,
            environ={**environ, **torch.env},
            scratch_dir=state.cache,
            trees=trees,
            sdists=sdists,
            libstdcxx=python.libstdcxx,
            stub_wheels=stubs,
        ).resolve()
    refuse_other_files(found.wheels, (text for _, text in wanted.contents))
    lock = _lock_of(found, target, python)
    watched = [place for place in (*settings.constraints, *settings.find_links) if "://" not in place]
    record(records, key, lock, watched=watched, addresses=found.addresses, directory=directory)
    return lock


def _index_places(request: RequirementRequest, directory: Path) -> list[list[str]]:
    """Where the experiment itself has packages looked for, wherever its project lies."""
    index = request.indexes
    addresses = [without_user_info(url) for url in (index.url or "", *index.extra_urls)]
    return [
        addresses,
        *([relative_place(place, directory) for place in places] for places in (index.find_links, index.constraints)),
    ]


def _older_key(
    request: RequirementRequest,
    wanted: RequirementSet,
    python: BasePython,
    environ: Mapping[str, str],
    directory: Path,
    has: Sequence[object],
) -> Digest:
    """The key that the record had while it said where the project lies: what was pinned then stays pinned."""
    looked_at, libstdcxx, *installed = has
    asked = [older_request_digest(request, wanted, python), older_settings_digest(environ, directory), looked_at]
    return digest_json([*asked, os.fspath(directory), libstdcxx, *installed])


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
    return _digest_with(wanted.digest, request, python)


def older_request_digest(request: RequirementRequest, wanted: RequirementSet, python: BasePython) -> Digest:
    """The same as it was when files of a list had a part in it by their whole path. Lock files of then are current still."""
    return _digest_with(wanted.older_digest, request, python)


def _digest_with(digest: Digest, request: RequirementRequest, python: BasePython) -> Digest:
    return digest_json([digest, python.minor, python.platform, request.cuda, request.indexes.exclude_newer])


def lock_digest(wheels: Sequence[LockedWheel], provided: Sequence[tuple[str, str]] = ()) -> Digest:
    """Digest of names, versions and hashes, and of what is *provided* by the base."""
    places = {wheel.name: [wheel.url] for wheel in wheels if wheel.directory}
    files = sorted([wheel.name, wheel.version, wheel.sha256, *places.get(wheel.name, ())] for wheel in wheels)
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
    """Requirements file syntax: one line for each file, with its hash."""
    return "".join(f"{wheel.exact} --hash=sha256:{wheel.sha256}\n" for wheel in wheels if not wheel.is_tree)


def wheel_source(lock: Lock, request: RequirementRequest, *, environ: Mapping[str, str] = os.environ) -> WheelSource:
    """Where the files of *lock* come from: the same settings that resolved them. Reads pip's settings: call it only when
    something has to be downloaded."""
    from launcher.plan.requirements.formats.project_indexes import project_indexes
    from launcher.plan.requirements.pip_settings import index_settings
    from launcher.plan.requirements.target import parse_target
    from runtime.build.sources import WheelSource

    wanted = read_requirements(request)
    options = [*wanted.index_options, *(project_indexes(wanted.project).options if wanted.project else ())]
    settings = index_settings(request.indexes, environ=environ, file_options=options, directory=request.base_dir)
    target = parse_target(lock.python, lock.platform)
    args = ["--python-version", target.python, "--python-platform", target.uv_platform, *settings.uv_args]
    if lock.torch is not None:
        args += ["--torch-backend", lock.torch]
    uv_cache = Path(environ["UV_CACHE_DIR"]) if environ.get("UV_CACHE_DIR") else None
    return WheelSource(
        tuple(args),
        settings.env,
        requirements_text(lock.wheels),
        uv_cache,
        sdist_network="host",
        git_addresses=_git_addresses(wanted),
        glibc=target.libc_version if target.libc == "manylinux" else None,
        build_constraints=tuple(f"{name}=={version}" for name, version in lock.provided),
        other_pythons={wheel.filename: wheel.other_python for wheel in lock.wheels if wheel.other_python},
    )


def _git_addresses(wanted: RequirementSet) -> dict[str, str]:
    """Repository → the address that a person wrote for it, where that has a user or a password."""
    from runtime.build.wheels.git_tree import parse_git_url

    written = (parse_git_url(os.path.expandvars(tree.place)) for tree in wanted.trees if tree.is_git)
    return {source.repository: address for source, address in written if address != source.repository}
