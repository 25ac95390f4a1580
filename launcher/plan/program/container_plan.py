"""From a plan, an image and a run directory to a ContainerSpec: the contract that a program sees, as mounts and environment.

Data only; the appliers are in `runtime.rootfs` and `runtime.container`. The environment is `environment.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from launcher.errors import ConfigError
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.machine_share import network_kind, shm_share, this_machine
from launcher.plan.program.command import program_user, starts_torchrun
from launcher.plan.program.environment import CHECKPOINTS, RUN_DIRECTORY, Rendezvous, data_target, program_env
from launcher.plan.program.own_files import notebook_files, with_shown_figures
from launcher.plan.program.workdir import OUTPUTS
from runtime.build.plan import env_of
from runtime.cgroup.limits import Limits
from runtime.container.spec import ContainerSpec
from runtime.light_dataclasses import replace
from runtime.network.addresses import host_name
from runtime.network.mode import NetworkMode
from runtime.network.published import parse as parse_port
from runtime.rootfs.mount_spec import BindMount, TmpfsFile
from runtime.state_dir import RunDir
from runtime.store.records import Image
from runtime.store.store import Store

SECRETS = "/run/secrets"


class LeasedGpus(Protocol):
    """What is needed of a lease here."""

    @property
    def uuids(self) -> tuple[str, ...]: ...

    @property
    def shares(self) -> tuple[float, ...]: ...

    @property
    def memory_bytes(self) -> tuple[int, ...]: ...


def container_spec(
    plan: LaunchPlan,
    image: Image,
    store: Store,
    run_dir: RunDir,
    *,
    lease: LeasedGpus | None = None,
    attempt: int = 1,
    environ: Mapping[str, str] = os.environ,
    sweep_id: str | None = None,
    trial: int | None = None,
    rendezvous: Rendezvous | None = None,
    run_name: str | None = None,
    layers: Sequence[Path] | None = None,
) -> ContainerSpec:
    """The container of one attempt. The run directory's files are there already; directories of caches are made here. *layers*
    are the directories of the image's layers, where they aren't those of *store*."""
    spec = plan.spec
    env = program_env(
        plan,
        env_of(image.execution),
        run_id=run_dir.run_id,
        attempt=attempt,
        resume=_holds_something(run_dir.checkpoints),
        environ=environ,
        sweep_id=sweep_id,
        trial=trial,
        rendezvous=rendezvous,
    )
    secrets = secret_values(spec.secrets, environ)
    layers = tuple(store.layer_dir(layer) for layer in image.layers) if layers is None else tuple(layers)
    network, network_name = network_of(spec.network)
    uid, gid, groups = program_user(plan.build.config.user, layers)
    container = ContainerSpec(
        container_id=run_dir.container_id,
        layers=layers,
        overlay_dir=run_dir.overlay,
        argv=plan.argv,
        env=env | secrets,
        cwd=plan.build.config.workdir,
        hostname=run_dir.cgroup_name,
        uid=uid,
        gid=gid,
        groups=groups,
        binds=tuple(bind._replace(owner=(uid, gid)) for bind in (*_own_binds(plan, run_dir), *_data_binds(plan))),
        tmpfs_files=(*_secret_files(secrets), *notebook_files(plan.argv)),
        shm_bytes=shm_share(spec.shm, memory_bytes=plan.memory_bytes, machine=this_machine()),
        limits=Limits(memory_bytes=plan.memory_bytes, cpus=spec.cpus),
        network=network,
        network_name=network_name,
        names=_names(plan, run_name),
        publish=tuple(parse_port(port) for port in spec.publish),
        loopback_listener=spec.tracking is not None,
        processes=plan.processes,
        world=None if rendezvous is None else rendezvous.world(plan.processes),
        rank_grace_s=spec.grace,
        rank_aliases=_rank_aliases(plan),
    )
    container = _to_work_in(container, plan, environ) if run_dir.is_dev else with_shown_figures(container, plan.build.steps)
    return _with_hardware(_with_tasks(container, spec.cluster.mpi), spec.devices, lease)


def _to_work_in(container: ContainerSpec, plan: LaunchPlan, environ: Mapping[str, str]) -> ContainerSpec:
    from launcher.plan.program.dev_container import to_work_in

    return to_work_in(container, plan, environ)


def _with_tasks(container: ContainerSpec, mpi: str) -> ContainerSpec:
    """PMIx turns away a rank whose effective ids are not the job's, by the rank's own words (psec_native.c)."""
    if mpi == "none":
        return container
    return replace(container, awaits_tasks=True, seen_as=(os.geteuid(), os.getegid()) if mpi == "pmix" else None)


def _with_hardware(container: ContainerSpec, devices: Sequence[str], lease: LeasedGpus | None) -> ContainerSpec:
    if devices:
        from launcher.plan.gpus.devices import edits_for
        from runtime.container.device_edits import apply_edits

        container = apply_edits(container, edits_for(devices))
    return container if lease is None else _with_gpus(container, lease)


def secret_values(names: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Values of the secrets *names*, from our environment. They are in no record, only in the container's memory."""
    missing = [name for name in names if name not in environ]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(f"secret {listed} is not in the environment", hint=f"`export {missing[0]}=…` before the launch")
    return {name: environ[name] for name in names}


def _secret_files(secrets: Mapping[str, str]) -> tuple[TmpfsFile, ...]:
    return tuple(TmpfsFile(f"{SECRETS}/{name}", value.encode()) for name, value in secrets.items())


def network_of(word: str) -> tuple[NetworkMode, str | None]:
    """What `network` means: a kind, and a name where it is a network that runs share."""
    match network_kind(word):
        case "none" | "host" | "bridge" | "pasta" as kind:
            return kind, None
        case _:
            return "bridge", word


def _rank_aliases(plan: LaunchPlan) -> tuple[tuple[str, str], ...]:
    """torchrun's processes are not ours to count: what it starts would all have the number of torchrun itself."""
    if plan.spec.cluster.kind != "slurm" or starts_torchrun(plan.argv):
        return ()
    from launcher.plan.program.slurm_env import OF_RANKS

    return OF_RANKS


def _names(plan: LaunchPlan, run_name: str | None) -> tuple[str, ...]:
    """What others on a named network call the run, beside its id and host name: the name it was given, its experiment's."""
    tracking = plan.spec.tracking
    given = (run_name, tracking.run_name if tracking is not None else None, plan.spec.name)
    return tuple(dict.fromkeys(name for name in (host_name(word) for word in given if word) if name))


def _run_binds(plan: LaunchPlan, run_dir: RunDir) -> tuple[BindMount, ...]:
    binds = [
        BindMount(source=run_dir.params, target=f"{RUN_DIRECTORY}/params.json", executable=False),
        BindMount(source=run_dir.spec, target=f"{RUN_DIRECTORY}/spec.json", executable=False),
        BindMount(source=run_dir.outputs, target=OUTPUTS, readonly=False),
        BindMount(source=run_dir.checkpoints, target=CHECKPOINTS, readonly=False),
    ]
    if plan.spec.metrics.file:
        metrics = BindMount(source=run_dir.metrics, target=f"{RUN_DIRECTORY}/metrics.jsonl", readonly=False, executable=False)
        binds.append(metrics)
    return tuple(binds)


def _own_binds(plan: LaunchPlan, run_dir: RunDir) -> tuple[BindMount, ...]:
    """What launch itself made in LAUNCH_HOME."""
    return tuple(bind._replace(may_be_lent=True) for bind in (*_run_binds(plan, run_dir), *_cache_binds(plan, run_dir)))


def _data_binds(plan: LaunchPlan) -> tuple[BindMount, ...]:
    return tuple(
        BindMount(source=Path(mount.source), target=data_target(plan, name), readonly=mount.readonly)
        for name, mount in plan.spec.data.items()
    )


def _cache_binds(plan: LaunchPlan, run_dir: RunDir) -> tuple[BindMount, ...]:
    """Caches are shared between runs: below `LAUNCH_HOME`/cache, so that they may be deleted like any cache."""
    state = run_dir.state
    binds = []
    for name, target in plan.spec.caches.items():
        source = state.cache / "shared" / name
        source.mkdir(mode=0o700, parents=True, exist_ok=True)
        binds.append(BindMount(source=source, target=target, readonly=False))
    return tuple(binds)


def _holds_something(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False


def _with_gpus(container: ContainerSpec, lease: LeasedGpus) -> ContainerSpec:
    from launcher.plan.gpus.devices import with_gpus
    from launcher.plan.program.environment import part_env

    if len(lease.shares) == 1 and lease.shares[0] < 1:
        container = replace(container, env={**part_env(lease.shares[0], sum(lease.memory_bytes)), **container.env})
    return with_gpus(container, lease.uuids)
