"""How many threads numerical libraries shall start: a CPU quota changes nothing that they see by themselves."""

from __future__ import annotations

import math


def thread_count(*, cpus: float, processes: int) -> int:
    """Threads of each rank: what it has of the cores, at least one."""
    return max(1, math.floor(cpus / processes))


def thread_env(threads: int) -> dict[str, str]:
    # torchrun sets OMP_NUM_THREADS=1, with a warning, unless it is set.
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
