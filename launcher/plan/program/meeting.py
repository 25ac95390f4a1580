"""Where the programs of a run on several nodes find one another, as the variables that torchrun and torch.distributed read. Pure.

torchrun is told `static` and its node's rank, not `c10d`: there the nodes draw lots for their ranks, and rank 0, whose metrics
count, would be anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.container.ranks import World


@dataclass(frozen=True, slots=True)
class Meeting:
    """What one of several nodes knows of the others."""

    node: int
    nodes: int
    address: str
    """Of the first node, where rank 0 listens."""
    port: int
    interface: str | None = None
    """This node's network interface to the others."""

    def world(self, ranks: int) -> World:
        """The ranks of all nodes, each of which has *ranks*."""
        return World(self.address, self.port, self.node * ranks, self.nodes * ranks)

    def variables(self) -> dict[str, str]:
        """What a program's `env` may overrule."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return {
            "NNODES": str(self.nodes),
            "NODE_RANK": str(self.node),
            "PET_NNODES": str(self.nodes),
            "PET_NODE_RANK": str(self.node),
            "PET_RDZV_BACKEND": "static",
            "PET_RDZV_ENDPOINT": f"{host}:{self.port}",
            # gloo asks for the address of the host's name, which is the container's and its loopback; NCCL guesses.
            **({} if self.interface is None else dict.fromkeys(_INTERFACE_VARIABLES, self.interface)),
        }


_INTERFACE_VARIABLES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")
