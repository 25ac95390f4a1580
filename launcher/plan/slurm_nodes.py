"""What the nodes of a Slurm cluster have, as `sinfo` tells: how many GPUs `gpus: all` are, how many shards a part of one is.

Asked only for those two; for a number of whole GPUs Slurm itself finds a node. Nodes that a run cannot get (another partition,
without the feature of `constraint`, not in `nodelist`) don't count. Generic resources as they are written: sinfo(1), `Gres`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.config.spec import Cluster
from launcher.plan.slurm_program import run_slurm

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
