"""Resource limits of a program (setrlimit(2)) beyond what its cgroup enforces: what training needs, where this user may give it.

What a network card reads directly is locked in memory (RDMA), loaders with many workers have many open files, and compilers of
kernels recurse deeply. Where the hard limit is lower and not ours to raise, the program gets that.
"""

from __future__ import annotations

import resource
from contextlib import suppress

from runtime.kernel import processes

_OPEN_FILES = 1 << 16
"""Not the hard limit, which may be a milliard: some programs close every descriptor that they could have."""
_STACK_BYTES = 64 << 20


def give_program_its_limits() -> tuple[int, int]:
    """Raise the limits of memory for this process and what it starts. Returns those of open files, which the program gets when it
    starts: until then as many as there are."""
    _raise(resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY)
    _raise(resource.RLIMIT_STACK, _STACK_BYTES)
    soft, hard = processes.raise_open_file_limit()
    return max(soft, min(hard, _OPEN_FILES)), hard


def _raise(kind: int, wanted: int) -> None:
    """The soft limit to *wanted*, the hard one too where that is permitted (CAP_SYS_RESOURCE); never down."""
    soft, hard = resource.getrlimit(kind)
    if _least(soft, wanted) == wanted:
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (wanted, hard if _least(hard, wanted) == wanted else wanted))
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (_least(wanted, hard), hard))


def _least(one: int, other: int) -> int:
    """The lower of two limits; infinity is -1."""
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)
