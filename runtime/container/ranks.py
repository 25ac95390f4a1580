"""Which ranks of a program one container starts, and the variables by which they find one another. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """The ranks of all machines that a program runs on, as far as one of them has to know."""

    address: str
    """Where rank 0 listens."""
    port: int
    first_rank: int
    """The number of this machine's first rank."""
    size: int


def rank_variables(local_rank: int, local_ranks: int, world: World) -> dict[str, str]:
    """What torch.distributed's `env://` reads."""
    return {
        "RANK": str(world.first_rank + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(world.size),
        "LOCAL_WORLD_SIZE": str(local_ranks),
        "MASTER_ADDR": world.address,
        "MASTER_PORT": str(world.port),
    }
