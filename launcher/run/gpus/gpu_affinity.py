"""Processors and memory beside a run's GPUs: with several sockets, data for a GPU of the other one takes the long way.

Set for the supervisor while it makes the container, and so inherited by init and by the program, which may ask for others. The
numbers of threads are not touched: they are the plan's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from runtime.errors import BadContent
from runtime.gpu.gpu import Gpu
from runtime.kernel import libc
from runtime.kernel.number_list import as_list, node_mask, number_list

_DEFAULT, _PREFERRED_MANY = 0, 5  # linux/mempolicy.h; the latter from Linux 5.15 on


@contextmanager
def near_gpus(gpus: Sequence[Gpu], *, cpus: float) -> Iterator[dict[str, Any]]:
    """Stay near *gpus* for the body, if *cpus* processors are there. Yields what was done, for the record."""
    before = os.sched_getaffinity(0)
    chosen, nodes = near_cpus(gpus, before, cpus=cpus), near_nodes(gpus)
    done: dict[str, Any] = {}
    if chosen:
        os.sched_setaffinity(0, chosen)
        done["cpus"] = as_list(chosen)
    if nodes and _prefer(nodes):
        done["numa_nodes"] = sorted(nodes)
    try:
        yield done
    finally:
        if chosen:
            os.sched_setaffinity(0, before)
        if "numa_nodes" in done:
            libc.set_mempolicy(_DEFAULT, b"", 0)


def near_cpus(gpus: Sequence[Gpu], allowed: set[int], *, cpus: float) -> set[int]:
    """Those of *allowed* that are near one of *gpus*. Empty where it doesn't matter or isn't known: a GPU doesn't say what is
    near it, all are near, or too few for a run that counts on *cpus*."""
    near: set[int] = set()
    for gpu in gpus:
        try:
            own = number_list(gpu.cpus or "")
        except BadContent:
            own = set()
        if not own:
            return set()
        near |= own
    chosen = near & allowed
    return chosen if len(chosen) >= cpus and chosen != allowed else set()


def near_nodes(gpus: Sequence[Gpu]) -> set[int]:
    """The memory nodes beside *gpus*; empty where one doesn't say, or there is only one on this machine."""
    nodes = {gpu.numa_node for gpu in gpus}
    known = {node for node in nodes if node is not None and node >= 0}
    return known if len(known) == len(nodes) and not known >= _online_nodes() else set()


def _online_nodes() -> set[int]:
    try:
        with open("/sys/devices/system/node/online") as file:
            return number_list(file.read())
    except (OSError, BadContent):
        return set()


def _prefer(nodes: set[int]) -> bool:
    """Take memory from *nodes* while they have some. False where the kernel won't: an old one, or a cpuset without them."""
    with suppress(OSError):
        libc.set_mempolicy(_PREFERRED_MANY, *node_mask(nodes))
        return True
    return False
