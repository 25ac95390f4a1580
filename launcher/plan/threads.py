"""How many threads numerical libraries shall start: a CPU quota changes nothing that they see by themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence


def thread_count(*, cpus: float, processes: int) -> int:
    """Threads of each rank: what it has of the cores, at least one."""
    return max(1, math.floor(cpus / processes))


def ranks(argv: Sequence[str], *, processes: int, gpus: float) -> int:
    """Processes that will share the cores: those that we start, or the workers that torchrun starts for us, one a GPU."""
    return max(processes, int(gpus)) if starts_torchrun(argv) else processes


def starts_torchrun(argv: Sequence[str]) -> bool:
    """Whether the command starts its ranks with torchrun, under any of its names."""
    return argv[0].rpartition("/")[2] == "torchrun" or any(f"torch.distributed.{name}" in argv for name in ("run", "launch"))


def thread_env(threads: int) -> dict[str, str]:
    # torchrun sets OMP_NUM_THREADS=1, with a warning, unless it is set.
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
