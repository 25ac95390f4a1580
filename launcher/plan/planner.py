"""From a composed experiment to a LaunchPlan in which nothing floats. Builds and starts nothing; caches are its only trace.

On the way of every launch: when nothing changed, it stats the code's files, asks git twice and reads two records, and imports
neither uv's nor Debian's part. When base and requirements are both new, they are resolved side by side (`pins.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from launcher.config.compiled import ComposedSpec
from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError
from launcher.plan.bases.pinning import Pinning
from launcher.plan.bases.python_choice import with_fitting_base
from launcher.plan.code.code_snapshot import snapshot
from launcher.plan.gpus.gpu_request import gpu_share
from launcher.plan.identity import spec_digest
from launcher.plan.image_plan import build_plan
from launcher.plan.launch_plan import CodeSnapshot, DataPin, LaunchPlan, Lock
from launcher.plan.machine_share import check_memory, check_network, cpu_share, this_machine
from launcher.plan.origins import Where, is_set, where_in
from launcher.plan.pins import ImagePinner, ImagePins, pin_existing_image
from launcher.plan.program.command import own_command, program_argv, ranks, starts_torchrun, thread_count, user_advice
from launcher.plan.refusals import refuse_indeterminism, refuse_missing, refuse_unsupported
from runtime.build.observer import PlanObserver
from runtime.build.plan import BuildPlan, ImageConfig
from runtime.errors import GpuError
from runtime.gpu.gpu import Gpu
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_json
from runtime.state_dir import StateDir


def plan(
    composed: ComposedSpec,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    image: str | None = None,
    refresh: bool = False,
    runs_here: bool = True,
    observer: PlanObserver | None = None,
) -> LaunchPlan:
    """The plan of *composed*. *image* runs the experiment in an image of the store; *refresh* resolves anew what is recorded.

    Not *runs_here*: the plan is only looked at, or only its image is built, and what this machine lacks is a warning. *observer*
    hears of what is built to be asked for its Python.
    """
    where = where_in(composed.origins)
    checks = _Checks(where, runs_here=runs_here)
    asked = with_fitting_base(composed.spec, where)
    spec = checks.place(asked)
    share = checks.share_for(spec)
    refuse_missing(spec, where, environ=environ)
    checks.check_machine(spec)
    words = own_command(spec, where)
    # The code is in a Dockerfile's image already, unless the experiment has some of its own.
    has_code = spec.image.dockerfile is not None and not is_set(composed.origins, "code")
    code = None if has_code else _code_of(spec, state, environ, where)
    if image is None:
        pins = ImagePinner(asked, Pinning(state, environ, refresh, observer), where).pin(composed.experiment_file)
        spec = replace(spec, image=pins.image or spec.image)
    else:
        pins = pin_existing_image(image, state=state, as_dockerfile=spec.image.dockerfile is not None)
        spec = replace(spec, image=replace(Image(base=pins.name, env=spec.image.env), dockerfile=spec.image.dockerfile))
    # Of an image that is there, with what it holds.
    code = code or pins.code or CodeSnapshot(root=spec.code.root, files=(), digest=digest_json([]), size_bytes=0, git=None)
    build = _build_of(spec, pins, code, where, copy_code=not has_code)
    checks.check_fit(spec, build, pins.lock, share)
    argv = _argv_of(words, spec, build.config, where)
    warnings = (*checks.warnings, *pins.warnings, *code.warnings, *_advice(spec, argv), *user_advice(build.config.user))
    return _with_identity(
        LaunchPlan(
            spec=spec,
            spec_digest=_UNKNOWN,
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
            data=_data_of(spec, state),
            overrides=composed.overrides,
            origins=composed.origins,
            warnings=warnings,
        )
    )


def with_spec(made: LaunchPlan, spec: ExperimentSpec, *, overrides: tuple[str, ...], state: StateDir) -> LaunchPlan:
    """*made* for another *spec* with the same image and code: a trial of a sweep, or a rerun with other parameters.

    Costs a millisecond: nothing is resolved, and the code is that of *made* even if it has changed since.
    """
    where = where_in(made.origins)
    spec = with_fitting_base(spec, where, chosen=made.spec.image)
    if (spec.image, spec.code, spec.workdir) != (made.spec.image, made.spec.code, made.spec.workdir):
        raise ConfigError("`image`, `code` and `workdir` cannot differ from the plan's: its image is built once")
    checks = _Checks(where, runs_here=True)
    spec = checks.place(spec)
    refuse_indeterminism(spec, where)
    share = checks.share_again(made, spec)
    argv = _argv_of(own_command(spec, where), spec, made.build.config, where)
    return _with_identity(
        replace(
            made,
            spec=spec,
            argv=argv,
            threads=_threads(argv, share),
            cpus=share.cpus,
            memory_bytes=spec.memory,
            gpus=share.gpus,
            processes=share.processes,
            data=made.data if spec.data == made.spec.data else _data_of(spec, state),
            overrides=overrides,
        )
    )


def with_data(made: LaunchPlan, *, state: StateDir) -> LaunchPlan:
    """*made* with its data as it is now: a run records what it had."""
    return _with_identity(replace(made, data=_data_of(made.spec, state)))


def with_build(made: LaunchPlan, spec: ExperimentSpec, *, lock: Lock, build: BuildPlan) -> LaunchPlan:
    """*made* with another image, which *spec* asks for."""
    return _with_identity(replace(made, spec=spec, lock=lock, build=build))


_UNKNOWN = digest_json(None)
"""The identity of a plan that is not complete."""


def _with_identity(made: LaunchPlan) -> LaunchPlan:
    return replace(made, spec_digest=spec_digest(made))


class _Share(NamedTuple):
    """What a run gets of this machine."""

    gpus: int | float
    cpus: float
    processes: int
    candidates: tuple[Gpu, ...] = ()
    """The GPUs that it may be; empty without any, and in a plan for elsewhere."""


class _Checks:
    """What the machine must have for a run. Not *runs_here*: what it lacks is a warning, since nothing will run."""

    def __init__(self, where: Where, *, runs_here: bool) -> None:
        self._where = where
        self._runs_here = runs_here
        self.warnings: list[str] = []

    @contextmanager
    def _or_warning(self) -> Iterator[None]:
        """What the body refuses is a warning where nothing will run."""
        try:
            yield
        except (ConfigError, GpuError) as error:
            if self._runs_here:
                raise
            self.warnings.append(f"this machine can't run it: {error.message}")

    def place(self, spec: ExperimentSpec) -> ExperimentSpec:
        """*spec* as it is where it runs; what nothing stands behind is refused."""
        if spec.nodes > 1 or spec.cluster.mpi != "none":
            from launcher.plan.cluster_request import on_several_nodes, refuse_missing_mpi

            if spec.cluster.kind != "local":
                spec = on_several_nodes(spec, self._where)
                if spec.cluster.mpi != "none" and self._runs_here:
                    refuse_missing_mpi(spec, self._where)
            else:
                with self._or_warning():
                    spec = on_several_nodes(spec, self._where)
        refuse_unsupported(spec, self._where)
        return spec

    def share_for(self, spec: ExperimentSpec) -> _Share:
        """The share of a run. Nobody knows a cluster's node yet."""
        if spec.cluster.kind != "local":
            from launcher.plan.cluster_request import node_share

            node = node_share(spec, self._where)
            return _Share(node.gpus, node.cpus, _processes(spec, node.gpus))
        with self._or_warning():
            return self._share_of(spec)
        gpus = spec.gpus if isinstance(spec.gpus, int | float) else 1
        return _Share(gpus, spec.cpus or this_machine().cpus, _processes(spec, gpus))

    def _share_of(self, spec: ExperimentSpec) -> _Share:
        where, machine = self._where, this_machine()
        gpus = gpu_share(spec, where)
        cpus = cpu_share(spec.cpus, machine=machine, gpus=gpus.count, gpus_present=gpus.present, origin=where("cpus"))
        check_memory(spec.memory, machine=machine, origin=where("memory"))
        check_memory(spec.shm, machine=machine, what="memory for `shm`", origin=where("shm"))
        check_network(spec.network, origin=where("network"))
        return _Share(gpus.count, cpus, _processes(spec, gpus.count), gpus.candidates)

    def share_again(self, made: LaunchPlan, spec: ExperimentSpec) -> _Share:
        """Measured anew where *spec* asks for something else. What `cpus: null` was then, it stays: threads change results."""
        if _asks(spec) == _asks(made.spec):
            return _Share(made.gpus, made.cpus, made.processes)
        share = self.share_for(spec)
        stays = (spec.cpus, spec.gpus) == (made.spec.cpus, made.spec.gpus)
        return share._replace(cpus=made.cpus) if stays else share

    def check_machine(self, spec: ExperimentSpec) -> None:
        """Its devices and its processor."""
        if spec.devices and spec.cluster.kind == "local":
            from launcher.plan.gpus.devices import refuse_missing_devices

            with self._or_warning():
                self.warnings += refuse_missing_devices(spec.devices, self._where)
        with self._or_warning():
            refuse_indeterminism(spec, self._where)

    def check_fit(self, spec: ExperimentSpec, build: BuildPlan, lock: Lock | None, share: _Share) -> None:
        """Whether its driver and GPUs can run what is in the image."""
        if not share.candidates:
            return
        from launcher.plan.gpus.devices import refuse_unready_driver
        from launcher.plan.gpus.gpu_fit import check_fit

        with self._or_warning():
            refuse_unready_driver(share.candidates)
            self.warnings += check_fit(spec, build.config.env, lock, share.candidates, self._where)


def _processes(spec: ExperimentSpec, gpus: int | float) -> int:
    return max(1, int(gpus)) if spec.processes == "per-gpu" else int(spec.processes)


def _asks(spec: ExperimentSpec) -> tuple[object, ...]:
    """What of *spec* is measured against a machine, and which."""
    return (spec.cluster.kind, spec.cluster.mpi, spec.gpus, spec.cpus, spec.memory, spec.shm, spec.processes, spec.network)


def _threads(argv: tuple[str, ...], share: _Share) -> int:
    return thread_count(cpus=share.cpus, processes=ranks(argv, processes=share.processes, gpus=share.gpus))


def _argv_of(words: tuple[str, ...] | None, spec: ExperimentSpec, config: ImageConfig, where: Where) -> tuple[str, ...]:
    argv = program_argv(words, spec, config, where)
    if spec.nodes > 1:
        from launcher.plan.cluster_request import refuse_standalone

        refuse_standalone(spec, argv, where)
    if spec.cluster.mpi != "none":
        from launcher.plan.cluster_request import refuse_other_starters

        refuse_other_starters(spec, argv, where)
    return argv


def _build_of(spec: ExperimentSpec, pins: ImagePins, code: CodeSnapshot, where: Where, *, copy_code: bool) -> BuildPlan:
    config = pins.base.image_config
    workdir = spec.workdir if config is None or where("workdir") is not None else config.workdir
    return build_plan(spec, pins.base, pins.lock, code, workdir=workdir, copy_code=copy_code, gpu=_gpu_of(spec, where))


def _gpu_of(spec: ExperimentSpec, where: Where) -> str:
    """The architecture of the GPU that commands of the image see; "" for none."""
    if spec.image.gpu is None:
        return ""
    from launcher.plan.gpus.build_gpu import build_gpu

    return build_gpu(spec.image.gpu, origin=where("image.gpu"), wishes=spec.gpu)


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
