"""What `nodes: 2` and more ask for beside a cluster: a network they see each other in, and a command that looks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError, Origin
from launcher.plan.threads import starts_torchrun

Where = Callable[[str], Origin | None]


def on_several_nodes(spec: ExperimentSpec, where: Where) -> ExperimentSpec:
    """*spec* with the network of its machines, unless it names one. Raises ConfigError for what can't be."""
    if spec.cluster.kind == "local":
        raise ConfigError(
            f"`nodes: {spec.nodes}` needs a cluster: this machine is one",
            origin=where("nodes"),
            hint="`cluster=slurm`; for several processes on this machine `processes=N` or torchrun",
        )
    origin = where("network")
    if spec.network == "host" or origin is None:
        return replace(spec, network="host")
    raise ConfigError(
        f"`network: {spec.network}` with `nodes: {spec.nodes}`: a container's own network ends at its machine",
        origin=origin,
        hint="leave `network` out: several nodes have their machines' own (`network: host`)",
    )


def refuse_standalone(spec: ExperimentSpec, argv: Sequence[str], where: Where) -> None:
    """With it each node would train alone, and nobody would notice."""
    if starts_torchrun(argv) and "--standalone" in argv:
        raise ConfigError(
            f"`torchrun --standalone` with `nodes: {spec.nodes}`: each node would train for itself",
            origin=where("command"),
            hint="leave `--standalone` out: torchrun reads what it needs from PET_* variables, on one node and on several",
        )
