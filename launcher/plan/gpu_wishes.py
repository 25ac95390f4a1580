"""Which GPUs and MIG instances of this machine fulfil an experiment's wishes, whether they are free or not. Pure.

A GPU in MIG mode can't be had as a whole. Its instances are what `gpu.mig` asks for; without that they are second best, for a
machine that has nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from launcher.config.spec import Gpu as Wishes
from runtime.gpu.gpu import Gpu, MigInstance
from runtime.gpu.topology import LinkKind, Topology


def fulfilling(gpus: Iterable[Gpu], wishes: Wishes) -> tuple[tuple[str, ...], bool]:
    """UUIDs of what fulfils *wishes*, in the driver's order, and whether those are MIG instances."""
    usable = [gpu for gpu in gpus if gpu.trouble is None and gpu.uuid is not None and _fits(gpu, wishes)]
    whole = [gpu.uuid for gpu in usable if gpu.uuid is not None and not gpu.mig_enabled and _has_memory(gpu.memory_bytes, wishes)]
    if wishes.mig is None and whole:
        return tuple(whole), False
    instances = tuple(one.uuid for gpu in usable if gpu.mig_enabled for one in gpu.mig if _instance_fits(one, wishes))
    return instances, bool(instances)


def largest_linked(uuids: Sequence[str], topology: Topology) -> int:
    """How many of *uuids* the largest group has in which NVLink leads from each to each."""
    left, largest = set(uuids), 0
    while left:
        group = [left.pop()]
        for here in group:
            near = {other for other in left if topology.link(here, other).kind is LinkKind.NVLINK}
            left -= near
            group += sorted(near)
        largest = max(largest, len(group))
    return largest


def _fits(gpu: Gpu, wishes: Wishes) -> bool:
    if wishes.model is not None and not (gpu.model and re.search(wishes.model, gpu.model)):
        return False
    if wishes.capability is None:
        return True
    if gpu.vendor != "nvidia" or gpu.capability is None:  # it is CUDA's word
        return False
    return _version(gpu.capability) >= _version(wishes.capability)


def _has_memory(memory_bytes: int | None, wishes: Wishes) -> bool:
    return wishes.memory is None or (memory_bytes is not None and memory_bytes >= wishes.memory)


def _instance_fits(instance: MigInstance, wishes: Wishes) -> bool:
    if wishes.mig not in (None, "any") and instance.profile not in str(wishes.mig).split("|"):
        return False
    return _has_memory(instance.memory_bytes, wishes)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
