"""NVIDIA's GPUs as values, put together: what NVML told of each, what the kernel lists of it, its place, its health."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runtime.gpu.gpu import Gpu, GpuProcess, MigInstance
from runtime.gpu.nvidia import health, xid
from runtime.gpu.nvidia.proc_driver import KernelGpu, kernel_gpus
from runtime.gpu.pci_device import pci_place
from runtime.gpu.roots import Roots
from runtime.light_dataclasses import replace

_NOT_LISTED = KernelGpu("")
_AS_TOLD = ("memory_bytes", "capability", "brand", "used_bytes", "busy_percent", "power_w", "power_limit_w", "temperature_c")
"""Fields of Gpu that are in the facts as they are."""
_ADDRESS = len("0000:18:00.0")


def describe_gpus(facts: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], roots: Roots) -> tuple[Gpu, ...]:
    """The GPUs of *facts* (`device_reading.read_device`, one each), and those that only the kernel knows of."""
    listed = kernel_gpus(roots)
    logged = xid.logged_xids(roots)
    # NVML counts in the order of the list; where it counts fewer, we can't tell which is which by number.
    by_index = dict(enumerate(listed)) if len(listed) == machine["count"] else {}
    asked = [_gpu(one, by_index.get(one["index"], _NOT_LISTED), machine, logged, roots) for one in facts]
    return (*asked, *_uncounted_gpus(asked, listed, machine, roots))


def describe_unreadable_gpus(reason: str, roots: Roots) -> tuple[Gpu, ...]:
    """The GPUs of a machine whose NVML does not come up, as far as the kernel lists them."""
    nothing = {"driver": None, "cuda": None}
    listed = enumerate(kernel_gpus(roots))
    return tuple(replace(_gpu({"index": index}, one, nothing, (), roots), trouble=reason) for index, one in listed)


def _uncounted_gpus(asked: Sequence[Gpu], listed: Sequence[KernelGpu], machine: Mapping[str, Any], roots: Roots) -> Iterator[Gpu]:
    """GPUs that the kernel lists and NVML does not count: lost before anybody could ask. In a container the list is the whole
    machine's, so that only those with a node here are missed."""
    known = {place_of(gpu.pci_bus_id) for gpu in asked}
    if len(listed) <= machine["count"] or None in known:
        return
    missed = [one for one in listed if place_of(one.address) not in known]
    there = [one for one in missed if one.minor is not None and (roots.dev / f"dev/nvidia{one.minor}").exists()]
    for index, one in enumerate(there, start=machine["count"]):
        words = "the kernel module lists it and NVML does not: it was lost, or never came up (the kernel log tells more)"
        yield replace(_gpu({"index": index}, one, machine, (), roots), trouble=words)


def place_of(address: str | None) -> str | None:
    """`0000:18:00.0`, of NVML's `00000000:18:00.0` and the kernel's alike."""
    return address.lower()[-_ADDRESS:] if address else None


def _gpu(
    facts: Mapping[str, Any],
    listed: KernelGpu,
    machine: Mapping[str, Any],
    logged: Iterable[xid.LoggedXid],
    roots: Roots,
) -> Gpu:
    trouble, warnings = health.judge(facts)
    slices = tuple(MigInstance(**one) for one in facts.get("mig", ()))
    processes = _processes(facts.get("processes", ()), slices)
    address = facts.get("pci_bus_id") or listed.address or None
    place = pci_place(address, roots)
    minor = facts.get("minor")
    as_told: dict[str, Any] = {name: facts.get(name) for name in _AS_TOLD}
    return Gpu(
        index=facts["index"],
        uuid=facts.get("uuid") or listed.uuid,
        minor=listed.minor if minor is None else minor,
        model=facts.get("model") or listed.model,
        pci_bus_id=address,
        pids=tuple(process.pid for process in processes if process.kind != "graphics"),
        driver=machine["driver"],
        trouble=facts.get("trouble") or trouble,
        counted=health.is_counted(facts),
        cuda=None if machine["cuda"] is None else (machine["cuda"][0], machine["cuda"][1]),
        numa_node=place.numa_node,
        cpus=place.cpus,
        mig=slices,
        mig_enabled=facts.get("mig_enabled", False),
        processes=processes,
        warnings=(*warnings, *_xid_warnings(address, logged)),
        render_nodes=place.render_nodes,
        unknown=tuple(sorted(facts.get("unknown", {}).items())),
        **as_told,
    )


def _xid_warnings(address: str | None, logged: Iterable[xid.LoggedXid]) -> Iterator[str]:
    """The hardware's last Xid since the machine was started; those that programs cause are the programs' affair."""
    place = (place_of(address) or "").rpartition(".")[0]
    own = [one for one in logged if place and one.address == place and not xid.meaning(one.xid).by_program]
    if own:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(own[-1].at))
        yield f"Xid {own[-1].xid} at {at}: {xid.meaning(own[-1].xid).words}"


def _processes(found: Iterable[dict[str, Any]], slices: Iterable[MigInstance]) -> tuple[GpuProcess, ...]:
    by_slot = {(one.gpu_instance, one.compute_instance): one.uuid for one in slices}
    return tuple(
        GpuProcess(
            pid=process["pid"],
            used_bytes=process["used_bytes"],
            kind=process["kind"],
            mig=by_slot.get(tuple(process["slot"])) if process["slot"] else None,
        )
        for process in found
    )
