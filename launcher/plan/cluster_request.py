"""What a run asks of a cluster: refused where the cluster can't be asked for it, and its share of a node that we don't see."""

from __future__ import annotations

from collections.abc import Callable

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError, Origin

Where = Callable[[str], Origin | None]

RESERVED = {
    **dict.fromkeys(("output", "error", "input", "open-mode"), "a run's output is in its own logs: `launch logs RUN`"),
    **dict.fromkeys(("requeue", "no-requeue"), "a job is not queued again by itself: `launch rerun RUN` runs it once more"),
    **dict.fromkeys(("array", "wrap", "ntasks", "ntasks-per-node", "chdir"), "a job is one run"),
    **dict.fromkeys(("parsable", "wait", "test-only", "help", "usage", "version"), "it is about the command and not the job"),
    **dict.fromkeys(("export", "export-file", "get-user-env"), "the job has the environment of the launch"),
    "signal": "`grace` says how long before its limit the run is asked to end",
    "nodes": "`nodes` says how many",
    "partition": "write `cluster.partition`",
    "account": "write `cluster.account`",
    "qos": "write `cluster.qos`",
    "time": "write `cluster.time`",
}
"""Options of sbatch that `cluster.sbatch` can't have, and why."""

SUPERSEDES = {
    "cpus-per-task": frozenset({"cpus-per-task", "cpus-per-gpu", "exclusive"}),
    "gpus-per-node": frozenset({"gpus-per-node", "gpus", "gpus-per-task", "gres"}),
    "mem": frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
}
"""Our own request → options that take its place when `cluster.sbatch` has one of them (`gres: gpu:a100:2`)."""


def refuse_odd_requests(spec: ExperimentSpec, where: Where) -> None:
    """What Slurm can't be asked for."""
    if spec.gpus == "all":
        hint = "`gpus=8`; `cluster.sbatch.exclusive=true` keeps others from the node"
        raise ConfigError("`gpus: all` means nothing before a node is chosen", origin=where("gpus"), hint=hint)
    if float(spec.gpus) != int(spec.gpus):
        raise ConfigError(f"`gpus: {spec.gpus:g}`: Slurm gives whole GPUs", origin=where("gpus"), hint="`gpus=1`")
    for name in spec.cluster.sbatch:
        if name.startswith("-"):
            message = f"`cluster.sbatch.{name}`: options are written without dashes"
            raise ConfigError(message, origin=where("cluster.sbatch"), hint=f"`cluster.sbatch.{name.lstrip('-')}=…`")
        if name in RESERVED:
            origin = where(f"cluster.sbatch.{name}") or where("cluster.sbatch")
            raise ConfigError(f"`cluster.sbatch.{name}` cannot be set", origin=origin, hint=RESERVED[name])


def cores_asked(spec: ExperimentSpec) -> float:
    """Cores of a run on a node that is not known yet: what it asks for, else one for each GPU, as Slurm gives one to a task."""
    return float(spec.cpus) if spec.cpus is not None else max(1.0, float(spec.gpus))
