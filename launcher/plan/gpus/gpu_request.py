"""How many GPUs a run gets, and which meet its requirements; what this machine has not is refused at once. Which of them it gets
is the lease's business.

Looking at GPUs starts here and only when some are asked for: an experiment without GPUs never touches the driver.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from launcher.config.spec import ExperimentSpec
from launcher.config.spec import Gpu as GpuRequirements
from launcher.errors import ConfigError
from launcher.plan.origins import Where
from runtime.gpu.gpu import Gpu, MigInstance
from runtime.gpu.leases.lease import SLOTS
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from runtime.gpu.topology import Topology


@dataclass(frozen=True, slots=True)
class GpuShare:
    count: int | float
    """What the run gets; `all` is resolved."""
    present: int
    """What the machine has for it; 0 when none were asked for, since then nobody looks."""
    candidates: tuple[Gpu, ...] = ()
    """The GPUs that it can be, or a part of."""


def gpu_share(spec: ExperimentSpec, where: Where) -> GpuShare:
    """The GPUs for `gpus` and `gpu` of *spec*, or a refusal that says what is here."""
    if spec.gpus == 0:
        return GpuShare(count=0, present=0)
    from runtime.gpu.inventory import read_gpus

    _refuse_odd_parts(spec, where)
    ours = read_gpus()
    offers, sliced = matching_gpus(ours, spec.gpu)
    count = len(offers) if spec.gpus == "all" else float(spec.gpus)
    if not offers or count > len(offers):
        raise _not_enough(spec, ours, len(offers), where)
    candidates = tuple(gpu for gpu in ours if gpu.uuid in offers or any(one.uuid in offers for one in gpu.mig))
    if sliced:
        _refuse_more_of_slices(count, where)
    else:
        _refuse_two_vendors(candidates, count, where)
    if spec.gpu.topology == "nvlink" and count > 1:
        _refuse_unlinked(ours, offers, int(count), where)
    return GpuShare(int(count) if count == int(count) else count, present=len(offers), candidates=candidates)


def _refuse_odd_parts(spec: ExperimentSpec, where: Where) -> None:
    """A part is a number of slots. (One and a half is the schema's to refuse.)"""
    if not isinstance(spec.gpus, float) or spec.gpus.is_integer():
        return
    slots = spec.gpus * SLOTS
    if abs(slots - round(slots)) > 1e-6 or round(slots) == 0:
        fitting = max(1, int(slots)) / SLOTS
        raise ConfigError(
            f"`gpus: {spec.gpus:g}`: a part of a GPU is a multiple of {1 / SLOTS:g}",
            origin=where("gpus"),
            hint=f"`gpus={fitting:g}`: {int(SLOTS // round(fitting * SLOTS))} such runs share a GPU",
        )


def _refuse_more_of_slices(count: float, where: Where) -> None:
    if count < 1:
        raise ConfigError(
            "a MIG instance is not divided any further",
            origin=where("gpus"),
            hint="`gpus=1` takes one; `gpu.mig` says which size",
        )
    if count > 1:
        raise ConfigError(
            f"{count:g} MIG instances requested: a process can use only one",
            origin=where("gpus"),
            hint="`gpus=1`, and several runs side by side (`-m` runs a sweep's trials so)",
        )


def _refuse_two_vendors(candidates: Sequence[Gpu], count: float, where: Where) -> None:
    """No program computes on NVIDIA's and AMD's together."""
    vendors = Counter(gpu.vendor for gpu in candidates)
    most, number = vendors.most_common(1)[0]
    if count > number:
        model = next(gpu.model for gpu in candidates if gpu.vendor == most)
        raise ConfigError(
            f"{count:g} GPUs requested, and only {number} here are of one vendor",
            origin=where("gpus"),
            hint=f"`gpu.model` picks a kind, for example `gpu.model={(model or most).split()[0]}`",
        )


def _refuse_unlinked(ours: Sequence[Gpu], offers: Sequence[str], count: int, where: Where) -> None:
    from runtime.gpu.topology import read_topology

    linked = largest_linked(offers, read_topology(ours))
    if linked < count:
        largest = f"at most {linked} are" if linked > 1 else "none are"
        raise ConfigError(
            f"no {count} GPUs here are connected by NVLink: {largest}",
            origin=where("gpu.topology"),
            hint="`gpu.topology=any` takes the best connected ones; `launch gpus` shows how they are",
        )


def _not_enough(spec: ExperimentSpec, ours: Sequence[Gpu], offered: int, where: Where) -> ConfigError:
    from runtime.gpu.inventory import read_all_gpus
    from runtime.gpu.visible_devices import restriction

    asked = "all" if spec.gpus == "all" else f"{spec.gpus:g}"
    healthy = sum(gpu.trouble is None for gpu in ours)
    allowed = restriction(os.environ)
    if offered == healthy and allowed is None:
        there = f"{healthy} of {len(ours)} usable" if healthy < len(ours) else f"{healthy} present"
        hint = f"`gpus={healthy}` takes all of this machine" if healthy else _WITHOUT
        sick = Counter(str(gpu.trouble) for gpu in ours if gpu.trouble is not None)
        hint = "; ".join([hint, *(f"{count} × {trouble}" for trouble, count in sick.items())])
        return ConfigError(f"not enough GPUs: {asked} requested, {there}", origin=where("gpus"), hint=hint)
    bounds = [f"`gpu.{name}: {value}`" for name, value in _requirements(spec).items()] + ([f"`{allowed}`"] if allowed else [])
    kinds = Counter(map(_describe, read_all_gpus()))
    return ConfigError(
        f"not enough GPUs: {asked} requested, {offered} here with {', '.join(bounds) or 'what is required'}",
        origin=where(next((f"gpu.{name}" for name in _requirements(spec)), "gpus")),
        hint=f"present: {'; '.join(f'{count} × {kind}' if count > 1 else kind for kind, count in kinds.items()) or 'none'}",
    )


def _requirements(spec: ExperimentSpec) -> dict[str, str]:
    required = spec.gpu
    memory = None if required.memory is None else f"{required.memory / (1 << 30):.4g}GiB"
    given = {"model": required.model, "memory": memory, "capability": required.capability, "mig": required.mig}
    return {name: value for name, value in given.items() if value is not None}


def _describe(gpu: Gpu) -> str:
    """`NVIDIA H100 80GB HBM3, 79.6 GiB, 9.0` and what is odd about it."""
    memory = None if gpu.memory_bytes is None else f"{gpu.memory_bytes / (1 << 30):.1f} GiB"
    slices = f"sliced into {', '.join(str(one.profile) for one in gpu.mig) or 'nothing'}" if gpu.mig_enabled else None
    return ", ".join(filter(None, (gpu.model or "unknown model", memory, gpu.capability, slices, gpu.trouble)))


_WITHOUT = "`gpus=0` runs without; `launch doctor` says what this machine has"


def matching_gpus(gpus: Iterable[Gpu], required: GpuRequirements) -> tuple[tuple[str, ...], bool]:
    """UUIDs of what meets *required*, free or not, in the driver's order, and whether those are MIG instances.

    A GPU in MIG mode can't be had as a whole. Its instances are what `gpu.mig` asks for; without that they are second best, for a
    machine that has nothing else.
    """
    usable = [gpu for gpu in gpus if gpu.trouble is None and gpu.uuid is not None and _fits(gpu, required)]
    whole = [
        gpu.uuid for gpu in usable if gpu.uuid is not None and not gpu.mig_enabled and _has_memory(gpu.memory_bytes, required)
    ]
    if required.mig is None and whole:
        return tuple(whole), False
    instances = tuple(one.uuid for gpu in usable if gpu.mig_enabled for one in gpu.mig if _instance_fits(one, required))
    return instances, bool(instances)


def largest_linked(uuids: Sequence[str], topology: Topology) -> int:
    """How many of *uuids* the largest group has in which NVLink leads from each to each."""
    from runtime.gpu.topology import LinkKind

    left, largest = set(uuids), 0
    while left:
        group = [left.pop()]
        for here in group:
            near = {other for other in left if topology.link(here, other).kind is LinkKind.NVLINK}
            left -= near
            group += sorted(near)
        largest = max(largest, len(group))
    return largest


def _fits(gpu: Gpu, required: GpuRequirements) -> bool:
    if required.model is not None and not (gpu.model and re.search(required.model, gpu.model)):
        return False
    if required.capability is None:
        return True
    if gpu.vendor != "nvidia" or gpu.capability is None:  # it is CUDA's word
        return False
    return _version(gpu.capability) >= _version(required.capability)


def _has_memory(memory_bytes: int | None, required: GpuRequirements) -> bool:
    return required.memory is None or (memory_bytes is not None and memory_bytes >= required.memory)


def _instance_fits(instance: MigInstance, required: GpuRequirements) -> bool:
    if required.mig not in (None, "any") and instance.profile not in str(required.mig).split("|"):
        return False
    return _has_memory(instance.memory_bytes, required)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
