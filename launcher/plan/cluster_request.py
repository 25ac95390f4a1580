"""What a run asks of a cluster: refused where the cluster can't be asked for it, and its share of a node that we don't see.

`sinfo` is asked for two things only: how many GPUs `gpus: all` are, and how many shards a part of one is. For a number of whole
GPUs Slurm itself finds a node. Nodes that a run cannot get (another partition, without the feature of `constraint`, not in
`nodelist`) don't count. Generic resources as they are written: sinfo(1), `Gres`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from launcher.config.spec import Cluster, ExperimentSpec
from launcher.errors import ConfigError, LaunchError
from launcher.plan.origins import Where
from launcher.plan.program.command import starts_torchrun
from launcher.plan.slurm_program import run_slurm
from runtime.light_dataclasses import dataclass, replace

RESERVED = {
    **dict.fromkeys(("output", "error", "input", "open-mode"), "a run's output is in its own logs: `launch logs RUN`"),
    **dict.fromkeys(("requeue", "no-requeue"), "write `cluster.requeue=true` or `false`"),
    "array": "a sweep is what many jobs of one kind are: `-m` and `sweep.space`, or `key=a,b,c`",
    **dict.fromkeys(("wrap", "ntasks", "ntasks-per-node", "chdir"), "a job is one run"),
    **dict.fromkeys(("parsable", "wait", "test-only", "help", "usage", "version"), "it is about the command and not the job"),
    **dict.fromkeys(("export", "export-file", "get-user-env"), "the job has the environment of the launch"),
    "signal": "`grace` says how long before its limit the run is asked to end",
    "nodes": "`nodes` says how many",
    **dict.fromkeys(("clusters", "cluster"), "a run is asked about at the cluster of this machine, and its job has to be there"),
    "partition": "write `cluster.partition`",
    "account": "write `cluster.account`",
    "qos": "write `cluster.qos`",
    "time": "write `cluster.time`",
}
"""Options of sbatch that `cluster.sbatch` can't have, and why."""

SUPERSEDES = {
    "cpus-per-task": frozenset({"cpus-per-task", "cpus-per-gpu", "exclusive"}),
    "exclusive": frozenset({"exclusive"}),
    "gpus-per-node": frozenset({"gpus-per-node", "gpus", "gpus-per-task", "gres"}),
    "gres": frozenset({"gpus-per-node", "gpus", "gpus-per-task", "gres"}),
    "mem": frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
}
"""Our own request → options that take its place when `cluster.sbatch` has one of them (`gres: gpu:a100:2`)."""

_GPU_RESOURCE = re.compile(r"(?:^|,)\s*(?:gres[:/])?(?:gpu|shard)\b")


def is_superseded(request: str, options: Mapping[str, Any]) -> bool:
    """Whether *options* of `cluster.sbatch` take the place of our own *request*. A `gres` without GPUs (a disk) doesn't."""
    given = {name for name, value in options.items() if value is not None and value is not False}
    if not _GPU_RESOURCE.search(as_text(options.get("gres") or "")):
        given.discard("gres")
    return bool(given & SUPERSEDES[request])


def gres_without_gpus(value: Any) -> str | None:
    """What a `gres` asks for beside GPUs: `gpu:a100:2,lscratch:800` → `lscratch:800`."""
    kept = [each.strip() for each in as_text(value or "").split(",") if each.strip() and not _GPU_RESOURCE.match(each)]
    return ",".join(kept) or None


def as_text(value: Any) -> str:
    """A list's elements are joined by commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def refuse_odd_requests(spec: ExperimentSpec, where: Where) -> None:
    """Options that Slurm can't be given, or not by a run."""
    for name in spec.cluster.sbatch:
        if name.startswith("-"):
            message = f"`cluster.sbatch.{name}`: options are written without dashes"
            raise ConfigError(message, origin=where("cluster.sbatch"), hint=f"`cluster.sbatch.{name.lstrip('-')}=…`")
        if "_" in name:
            message = f"`cluster.sbatch.{name}`: options are written as sbatch has them, with dashes between words"
            hint = f"`cluster.sbatch.{name.replace('_', '-')}=…`"
            raise ConfigError(message, origin=where(f"cluster.sbatch.{name}") or where("cluster.sbatch"), hint=hint)
        reserved = next((each for each in RESERVED if each.startswith(name)), None)  # sbatch takes `outp` for `output`
        if reserved is not None:
            origin = where(f"cluster.sbatch.{name}") or where("cluster.sbatch")
            raise ConfigError(f"`cluster.sbatch.{name}` cannot be set", origin=origin, hint=RESERVED[reserved])
    if spec.gpus == 0 and is_superseded("gpus-per-node", spec.cluster.sbatch):
        message = "`cluster.sbatch` asks Slurm for GPUs, and `gpus: 0` takes none of them"
        raise ConfigError(message, origin=where("cluster.sbatch"), hint="`gpus=2`: as many as the run gets on each node")


def refuse_impatience(spec: ExperimentSpec, where: Where) -> None:
    """`--no-wait` on a cluster: srun has `--immediate`, sbatch has nothing like it."""
    raise ConfigError(
        f"`--no-wait` is for this machine: `cluster.kind: {spec.cluster.kind}` keeps a job in line until there is room for it",
        origin=where("cluster.kind"),
        hint="`cluster.time=30m cluster.sbatch.deadline=now+35minutes` takes it out of the line when it can't be done by then",
    )


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What a run asks for on each of its nodes."""

    gpus: int | float
    cpus: float


def node_share(spec: ExperimentSpec, where: Where) -> NodeShare:
    """`all` is resolved here, by what the cluster's nodes have. Cores: what is asked for, else one for each GPU, as Slurm gives
    one to a task; with all GPUs of a node, all of its cores."""
    if spec.gpus == "all":
        node = _whole_node(spec, where)
        return NodeShare(node.gpus, float(spec.cpus if spec.cpus is not None else node.cpus))
    gpus = float(spec.gpus)
    if not gpus.is_integer():
        shards(spec, where)  # the refusal, if there is one
    return NodeShare(int(gpus) if gpus.is_integer() else gpus, float(spec.cpus) if spec.cpus is not None else max(1.0, gpus))


def shards(spec: ExperimentSpec, where: Where) -> int | None:
    """How many `gres/shard` are the part of a GPU that *spec* asks for; None where its own options ask for GPUs."""
    if is_superseded("gpus-per-node", spec.cluster.sbatch):
        return None
    part, others = float(spec.gpus), "`gpus=1` takes a whole one; `cluster.sbatch.gres=…` asks in Slurm's own words"
    sharing = [nodes for nodes in _nodes(spec, where) if nodes.shards]
    if not sharing:
        message = f"`gpus: {part:g}`: this cluster gives whole GPUs (no node that the run may have has `gres/shard`)"
        raise ConfigError(message, origin=where("gpus"), hint=others)
    per_gpu = {nodes.shards / nodes.gpus for nodes in sharing}
    if len(per_gpu) > 1:
        raise _mixed_gpus_error(spec, sharing, where)
    wanted = part * (most := per_gpu.pop())
    if abs(wanted - round(wanted)) > 1e-6 or round(wanted) == 0:
        message = f"`gpus: {part:g}`: a GPU of this cluster has {most:g} shards, a part is a multiple of {1 / most:.3g}"
        raise ConfigError(message, origin=where("gpus"), hint=others)
    return round(wanted)


def _whole_node(spec: ExperimentSpec, where: Where) -> Nodes:
    found = _nodes(spec, where)
    if not found:
        place = f"partition `{spec.cluster.partition}`" if spec.cluster.partition else "this cluster"
        raise ConfigError(f"`gpus: all`: no node of {place} that the run may have has a GPU", origin=where("gpus"))
    if len({nodes.gpus for nodes in found}) > 1:
        raise _mixed_gpus_error(spec, found, where)
    return min(found, key=lambda nodes: nodes.cpus)


def _nodes(spec: ExperimentSpec, where: Where) -> list[Nodes]:
    try:
        return nodes_with_gpus(spec.cluster)
    except LaunchError as error:
        message = f"`gpus: {spec.gpus}`: what the cluster's nodes have is not known: {error.message}"
        raise ConfigError(message, origin=where("gpus"), hint="a number of whole GPUs (`gpus=1`) needs no answer") from error


def _mixed_gpus_error(spec: ExperimentSpec, kinds: list[Nodes], where: Where) -> ConfigError:
    return ConfigError(
        f"`gpus: {spec.gpus}` is not the same on all nodes: {'; '.join(map(str, kinds))}",
        origin=where("gpus"),
        hint="`cluster.partition` or `cluster.sbatch.constraint` says which of them, or ask for a number: `gpus=1`",
    )


_FORMAT = "Gres:|,CPUs:|,Features:|,NodeList:|"
_RESOURCE = re.compile(r"(?P<name>\w+)(?::(?P<kind>[^:(),]+))?:(?P<count>\d+)(?:\([^)]*\))?(?:,|$)")


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one kind."""

    names: str
    gpus: int
    shards: int
    """Of all GPUs of a node together: `gres/shard`."""
    cpus: int
    features: tuple[str, ...] = ()

    def __str__(self) -> str:
        shards = f", {self.shards} shards" if self.shards else ""
        return f"{self.names}: {self.gpus} GPU{'' if self.gpus == 1 else 's'}{shards}"


def nodes_with_gpus(cluster: Cluster) -> list[Nodes]:
    """Those with GPUs that a run may be put on. Raises LaunchError where Slurm can't be asked."""
    argv = ["sinfo", "--noheader", f"--Format={_FORMAT}"]
    argv += [f"--partition={cluster.partition}"] if cluster.partition else []
    named = cluster.sbatch.get("nodelist")
    argv += [f"--nodes={named if isinstance(named, str) else ','.join(map(str, named))}"] if named else []
    wanted = str(cluster.sbatch.get("constraint") or "")
    # `a&b` and the like are Slurm's to work out: then every node counts.
    feature = wanted if re.fullmatch(r"[\w.-]+", wanted) else None
    return [nodes for nodes in read_sinfo(run_slurm(argv)) if nodes.gpus and (feature is None or feature in nodes.features)]


def read_sinfo(printed: str) -> list[Nodes]:
    """The output of `sinfo --noheader --Format=…`; a line that is not understood counts for nothing."""
    fields = [[word.strip() for word in line.split("|")] for line in printed.splitlines()]
    return [
        Nodes(
            names=names,
            gpus=_count(resources, "gpu"),
            shards=_count(resources, "shard"),
            cpus=int(cpus.rstrip("+")),
            features=tuple(features.split(",")),
        )
        for resources, cpus, features, names in (line[:4] for line in fields if len(line) >= 4)
        if cpus.rstrip("+").isdigit()
    ]


def _count(resources: str, name: str) -> int:
    """`gpu:a100:4(S:0-1),shard:16` has four of `gpu`."""
    return sum(int(found["count"]) for found in _RESOURCE.finditer(resources) if found["name"] == name)


def on_several_nodes(spec: ExperimentSpec, where: Where) -> ExperimentSpec:
    """*spec*, of several nodes or one whose ranks speak MPI, with the network of its machines, unless it names one. Raises
    ConfigError for what can't be."""
    key = "nodes" if spec.nodes > 1 else "cluster.mpi"
    asked = f"`nodes: {spec.nodes}`" if spec.nodes > 1 else f"`cluster.mpi: {spec.cluster.mpi}`"
    if spec.cluster.kind == "local":
        here = "`processes=N` or torchrun" if spec.nodes > 1 else "`cluster.mpi=none` and `command: mpirun -n 4 …`"
        raise ConfigError(
            f"{asked} needs a cluster: this machine is one",
            origin=where(key),
            hint=f"`cluster=slurm`; for several processes on this machine {here}",
        )
    origin = where("network")
    if spec.network == "host" or origin is None:
        return replace(spec, network="host")
    raise ConfigError(
        f"`network: {spec.network}` with {asked}: a container's own network ends at its machine",
        origin=origin,
        hint="leave `network` out: it is then the machines' own (`network: host`)",
    )


def refuse_standalone(spec: ExperimentSpec, argv: Sequence[str], where: Where) -> None:
    """With it each node would train alone, and nobody would notice."""
    if starts_torchrun(argv) and "--standalone" in argv:
        raise ConfigError(
            f"`torchrun --standalone` with `nodes: {spec.nodes}`: each node would train for itself",
            origin=where("command"),
            hint="leave `--standalone` out: torchrun reads what it needs from PET_* variables, on one node and on several",
        )


def refuse_missing_mpi(spec: ExperimentSpec, where: Where) -> None:
    """A Slurm that was built without what `cluster.mpi` names; where it can't be asked here, the job's nodes will say so."""
    kinds = _kinds_of_mpi()
    if kinds and spec.cluster.mpi not in kinds:
        raise ConfigError(
            f"`cluster.mpi: {spec.cluster.mpi}`: this Slurm has no such plugin (`srun --mpi=list`: {', '.join(kinds)})",
            origin=where("cluster.mpi"),
            hint="`pmix` is OpenMPI's, `pmi2` MPICH's and Intel MPI's; whoever runs the cluster can install the plugin",
        )


@cache
def _kinds_of_mpi() -> tuple[str, ...]:
    try:
        listed = run_slurm(["srun", "--mpi=list"])
    except LaunchError:
        return ()
    return tuple(line.strip() for line in listed.splitlines() if line[:1].isspace() and line.strip() != "none")


def refuse_other_starters(spec: ExperimentSpec, argv: Sequence[str], where: Where) -> None:
    """Each rank would start a world of its own."""
    starter = os.path.basename(argv[0]) if argv else ""
    if starts_torchrun(argv) or starter in _STARTERS:
        raise ConfigError(
            f"`cluster.mpi: {spec.cluster.mpi}` with `{starter}`: ranks are started already, `processes` on each node",
            origin=where("command"),
            hint=f"`command: …` without `{starter}`, and `processes=4`; or `cluster.mpi=none`",
        )


_STARTERS = frozenset({"mpirun", "mpiexec", "mpiexec.hydra", "prterun", "srun"})
