"""From a composed experiment to a LaunchPlan in which nothing floats. Builds and starts nothing; caches are its only trace.

On the way of every launch: when nothing changed, it stats the code's files, asks git twice and reads two records, and imports
neither uv's nor Debian's part. When base and requirements are both new, they are resolved side by side (`pins.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from launcher.config.compiled import Composed
from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError, Origin
from launcher.plan.bases.pinning import Pinning
from launcher.plan.code.code_snapshot import snapshot
from launcher.plan.gpus.gpu_request import gpu_share
from launcher.plan.identity import spec_digest
from launcher.plan.image_plan import build_plan
from launcher.plan.launch_plan import CodeSnapshot, DataPin, LaunchPlan, Lock
from launcher.plan.machine_share import check_memory, check_network, cpu_share, this_machine
from launcher.plan.origins import Where, is_set, origin_of
from launcher.plan.pins import ImagePinner, ImagePins, pin_existing_image
from launcher.plan.program.command import own_command, program_argv, ranks, starts_torchrun, thread_count, user_advice
from launcher.plan.refusals import refuse_indeterminism, refuse_missing, refuse_unsupported
from runtime.build.observer import BuildObserver
from runtime.build.plan import BuildPlan, ImageConfig
from runtime.errors import GpuError
from runtime.gpu.gpu import Gpu
from runtime.oci.digest import Digest, digest_json
from runtime.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class _Share:
    """What a run gets of this machine."""

    gpus: int | float
    cpus: float
    processes: int
    candidates: tuple[Gpu, ...] = ()
    """The GPUs that it may be; empty without any, and in a plan for elsewhere."""


def plan(
    composed: Composed,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    cwd: Path,
    image: str | None = None,
    refresh: bool = False,
    runs_here: bool = True,
    observer: BuildObserver | None = None,
) -> LaunchPlan:
    """The plan of *composed*. *image* runs the experiment in an image of the store; *refresh* resolves anew what is recorded.

    Not *runs_here*: the plan is only looked at, or only its image is built, and what this machine lacks is a warning. *observer*
    hears of what is built to be asked for its Python.
    """

    def where(key: str) -> Origin | None:
        return origin_of(composed.origins, key)

    spec, elsewhere = _placed(composed.spec, where, runs_here=runs_here)
    share, lacking = _share_for(spec, where, runs_here=runs_here)
    refuse_missing(spec, where, environ=environ)
    lacking += _devices_lacking(spec, where, runs_here=runs_here)
    lacking += _indeterminism(spec, where, runs_here=runs_here)
    words = own_command(spec, where)
    # The code is in a Dockerfile's image already, unless the experiment has some of its own.
    has_code = spec.image.dockerfile is not None and not is_set(composed.origins, "code")
    code = None if has_code else _code_of(spec, state, environ, where)
    if image is None:
        pins = ImagePinner(composed.spec, Pinning(state, environ, refresh, observer), where).pin(composed.experiment_file)
    else:
        pins = pin_existing_image(image, state=state, as_dockerfile=spec.image.dockerfile is not None)
    if image is not None:
        spec = replace(spec, image=replace(Image(base=pins.name, env=spec.image.env), dockerfile=spec.image.dockerfile))
    code = code or pins.code or _no_code(spec)
    data = _data_of(spec, state)
    build = _build_of(spec, pins, code, where, copy_code=not has_code)
    lacking += _unfit(spec, build, pins.lock, share, where, runs_here=runs_here)
    argv = _argv_of(words, spec, build.config, where)
    pinned = _Pins(base_digest=pins.base.digest, lock=pins.lock, build=build, code=code)
    return LaunchPlan(
        spec=spec,
        spec_digest=_identity(spec, pinned, argv=argv, share=share, data=data),
        build=build,
        code=code,
        lock=pins.lock,
        base_digest=pins.base.digest,
        argv=argv,
        threads=_threads(argv, share),
        cpus=share.cpus,
        memory_bytes=spec.memory,
        gpus=share.gpus,
        processes=share.processes,
        data=data,
        overrides=composed.overrides,
        origins=composed.origins,
        warnings=(*elsewhere, *lacking, *pins.warnings, *code.warnings, *_advice(spec, argv), *user_advice(build.config.user)),
    )


def _placed(spec: ExperimentSpec, where: Where, *, runs_here: bool) -> tuple[ExperimentSpec, tuple[str, ...]]:
    """*spec* as it is where it runs, and a warning where that can't be here; what nothing stands behind is refused."""
    lacking: tuple[str, ...] = ()
    if spec.nodes > 1:
        from launcher.plan.cluster_request import on_several_nodes

        try:
            spec = on_several_nodes(spec, where)
        except ConfigError as error:
            if runs_here or spec.cluster.kind != "local":
                raise
            lacking = (f"this machine can't run it: {error.message}",)
    refuse_unsupported(spec, where)
    return spec, lacking


def _argv_of(words: tuple[str, ...] | None, spec: ExperimentSpec, config: ImageConfig, where: Where) -> tuple[str, ...]:
    argv = program_argv(words, spec, config, where)
    if spec.nodes > 1:
        from launcher.plan.cluster_request import refuse_standalone

        refuse_standalone(spec, argv, where)
    return argv


def _build_of(spec: ExperimentSpec, pins: ImagePins, code: CodeSnapshot, where: Where, *, copy_code: bool) -> BuildPlan:
    config = pins.base.image_config
    workdir = spec.workdir if config is None or where("workdir") is not None else config.workdir
    return build_plan(spec, pins.base, pins.lock, code, workdir=workdir, copy_code=copy_code, origin=where("image.requirements"))


def with_spec(made: LaunchPlan, spec: ExperimentSpec, *, overrides: tuple[str, ...], state: StateDir) -> LaunchPlan:
    """*made* for another *spec* with the same image and code: a trial of a sweep, or a rerun with other parameters.

    Costs a millisecond: nothing is resolved, and the code is that of *made* even if it has changed since.
    """
    if (spec.image, spec.code, spec.workdir) != (made.spec.image, made.spec.code, made.spec.workdir):
        raise ConfigError("`image`, `code` and `workdir` cannot differ from the plan's: its image is built once")

    def where(key: str) -> Origin | None:
        return origin_of(made.origins, key)

    spec, _ = _placed(spec, where, runs_here=True)
    refuse_indeterminism(spec, where)
    share = _share_again(made, spec, where)
    argv = _argv_of(own_command(spec, where), spec, made.build.config, where)
    data = made.data if spec.data == made.spec.data else _data_of(spec, state)
    return replace(
        made,
        spec=spec,
        spec_digest=_identity(spec, made, argv=argv, share=share, data=data),
        argv=argv,
        threads=_threads(argv, share),
        cpus=share.cpus,
        memory_bytes=spec.memory,
        gpus=share.gpus,
        processes=share.processes,
        data=data,
        overrides=overrides,
    )


def with_data(made: LaunchPlan, *, state: StateDir) -> LaunchPlan:
    """*made* with its data as it is now: a run records what it had."""
    data = _data_of(made.spec, state)
    share = _Share(made.gpus, made.cpus, made.processes)
    return replace(made, data=data, spec_digest=_identity(made.spec, made, argv=made.argv, share=share, data=data))


def with_build(made: LaunchPlan, spec: ExperimentSpec, *, lock: Lock, build: BuildPlan) -> LaunchPlan:
    """*made* with another image, which *spec* asks for."""
    changed = replace(made, spec=spec, lock=lock, build=build)
    share = _Share(made.gpus, made.cpus, made.processes)
    return replace(changed, spec_digest=_identity(spec, changed, argv=made.argv, share=share, data=made.data))


class _Pinned(Protocol):
    """What an identity takes from pins: a LaunchPlan has it, and so have pins that are not a plan yet."""

    @property
    def base_digest(self) -> Digest: ...
    @property
    def lock(self) -> Lock | None: ...
    @property
    def build(self) -> BuildPlan: ...
    @property
    def code(self) -> CodeSnapshot: ...


@dataclass(frozen=True, slots=True)
class _Pins:
    base_digest: Digest
    lock: Lock | None
    build: BuildPlan
    code: CodeSnapshot


def _identity(
    spec: ExperimentSpec, pinned: _Pinned, *, argv: tuple[str, ...], share: _Share, data: Mapping[str, DataPin]
) -> Digest:
    return spec_digest(
        replace(spec, workdir=pinned.build.config.workdir),
        base_digest=pinned.base_digest,
        steps=pinned.build.steps,
        stages=pinned.build.stages,
        lock=pinned.lock,
        code_digest=pinned.code.digest,
        argv=argv,
        gpus=share.gpus,
        processes=share.processes,
        threads=_threads(argv, share),
        data=data,
    )


def _share_of(spec: ExperimentSpec, where: Where) -> _Share:
    gpus = gpu_share(spec, where)
    machine = this_machine()
    cpus = cpu_share(spec.cpus, machine=machine, gpus=gpus.count, gpus_present=gpus.present, origin=where("cpus"))
    check_memory(spec.memory, machine=machine, origin=where("memory"))
    check_memory(spec.shm, machine=machine, what="memory for `shm`", origin=where("shm"))
    check_network(spec.network, origin=where("network"))
    processes = max(1, int(gpus.count)) if spec.processes == "per-gpu" else int(spec.processes)
    return _Share(gpus.count, cpus, processes, gpus.candidates)


def _share_for(spec: ExperimentSpec, where: Where, *, runs_here: bool) -> tuple[_Share, tuple[str, ...]]:
    """The share, and warnings about what this machine lacks: for a run that is refused. Nobody knows a cluster's node yet."""
    if spec.cluster.kind != "local":
        return _share_of_node(spec, where), ()
    try:
        return _share_of(spec, where), ()
    except ConfigError as error:
        if runs_here:
            raise
        lacking = f"this machine can't run it: {error.message}"
    gpus = spec.gpus if isinstance(spec.gpus, int | float) else 1
    processes = max(1, int(gpus)) if spec.processes == "per-gpu" else int(spec.processes)
    return _Share(gpus, spec.cpus or this_machine().cpus, processes), (lacking,)


def _share_of_node(spec: ExperimentSpec, where: Where) -> _Share:
    from launcher.plan.cluster_request import node_share

    share = node_share(spec, where)
    processes = max(1, int(share.gpus)) if spec.processes == "per-gpu" else int(spec.processes)
    return _Share(share.gpus, share.cpus, processes)


def _devices_lacking(spec: ExperimentSpec, where: Where, *, runs_here: bool) -> tuple[str, ...]:
    if not spec.devices or spec.cluster.kind != "local":
        return ()
    from launcher.plan.gpus.devices import refuse_missing_devices

    return _refused_or_told(lambda: refuse_missing_devices(spec.devices, where), runs_here=runs_here)


def _indeterminism(spec: ExperimentSpec, where: Where, *, runs_here: bool) -> tuple[str, ...]:
    def check() -> tuple[str, ...]:
        refuse_indeterminism(spec, where)
        return ()

    return _refused_or_told(check, runs_here=runs_here)


def _unfit(
    spec: ExperimentSpec, build: BuildPlan, lock: Lock | None, share: _Share, where: Where, *, runs_here: bool
) -> tuple[str, ...]:
    if not share.candidates:
        return ()
    from launcher.plan.gpus.devices import refuse_unready_driver
    from launcher.plan.gpus.gpu_fit import check_fit

    def check() -> tuple[str, ...]:
        refuse_unready_driver(share.candidates)
        return check_fit(spec, build.config.env, lock, share.candidates, where)

    return _refused_or_told(check, runs_here=runs_here)


def _refused_or_told(check: Callable[[], tuple[str, ...]], *, runs_here: bool) -> tuple[str, ...]:
    """The warnings of *check*. What it refuses is a warning where nothing will run."""
    try:
        return check()
    except (ConfigError, GpuError) as error:
        if runs_here:
            raise
        return (f"this machine can't run it: {error.message}",)


def _threads(argv: tuple[str, ...], share: _Share) -> int:
    return thread_count(cpus=share.cpus, processes=ranks(argv, processes=share.processes, gpus=share.gpus))


def _asks(spec: ExperimentSpec) -> tuple[object, ...]:
    """What of *spec* is measured against a machine, and which."""
    return (spec.cluster.kind, spec.gpus, spec.cpus, spec.memory, spec.shm, spec.processes, spec.network)


def _share_again(made: LaunchPlan, spec: ExperimentSpec, where: Where) -> _Share:
    """Measured anew where *spec* asks for something else. What `cpus: null` was then, it stays: threads change results."""
    if _asks(spec) == _asks(made.spec):
        return _Share(made.gpus, made.cpus, made.processes)
    share, _ = _share_for(spec, where, runs_here=True)
    stays = (spec.cpus, spec.gpus) == (made.spec.cpus, made.spec.gpus)
    return replace(share, cpus=made.cpus) if stays else share


def _code_of(spec: ExperimentSpec, state: StateDir, environ: Mapping[str, str], where: Where) -> CodeSnapshot:
    return snapshot(
        spec.code.root,
        include=spec.code.include,
        exclude=spec.code.exclude,
        cache_dir=state.cache,
        environ=environ,
        origin=where("code.root"),
        leave_out=(state.root,),
    )


def _no_code(spec: ExperimentSpec) -> CodeSnapshot:
    """Of an image that is there, with what it holds."""
    return CodeSnapshot(root=spec.code.root, files=(), digest=digest_json([]), size_bytes=0, git=None)


def _data_of(spec: ExperimentSpec, state: StateDir) -> dict[str, DataPin]:
    if not spec.data:
        return {}
    from launcher.plan.data_pin import pin_data

    return {name: pin_data(mount.source, cache_dir=state.cache) for name, mount in spec.data.items()}


_TORCHRUN_PATIENCE_S = 30.0


def _advice(spec: ExperimentSpec, argv: tuple[str, ...]) -> tuple[str, ...]:
    """What will work, but perhaps not as expected."""
    if not starts_torchrun(argv):
        return ()
    advice = []
    if spec.grace > _TORCHRUN_PATIENCE_S:
        text = "but torchrun kills its workers 30 s after SIGTERM; `processes: per-gpu` starts ranks without torchrun"
        advice.append(f"`grace` is {spec.grace:g} s, {text}")
    if spec.processes != 1:
        text = "and each would start torchrun, which starts ranks itself; leave `processes` at 1, or run train.py with python3"
        advice.append(f"`processes` is {spec.processes}, {text}")
    return tuple(advice)
