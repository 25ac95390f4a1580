"""What the NVML of a box answers, as the JSON document that gpu_box/state.h reads. Values of real GPUs where they are known."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

GIB = 1 << 30

MODELS: dict[str, dict[str, Any]] = {}
"""Name → its own values. Brands and architectures are NVML's numbers."""


def _model(name: str, capability: str, memory: tuple[int, int], *, watts: int, links: int = 0, gen: int, **more: int) -> None:
    """*memory*: all of it, and the driver's reserve. *gen*: of PCIe."""
    total, reserved = memory
    MODELS[name] = {
        "compute_capability": capability,
        "memory_total": total,
        "memory_reserved": reserved,
        "power_limit_mw": 1000 * watts,
        "nvlink": {"links": links},
        "pcie_gen": gen,
        "pcie_gen_max": gen,
        **more,
    }


_HOPPER = 9
_NEW = {"ecc_mode": 1, "mig_mode": 0, "brand": 14}
_OLD = {"ecc_mode": 1, "retired_pages_pending": 0, "brand": 2}
_model("NVIDIA H100 80GB HBM3", "9.0", (85520809984, 651231232), watts=700, links=18, gen=5, architecture=9, **_NEW)
_model("NVIDIA H200", "9.0", (150754820096, 688914432), watts=700, links=18, gen=5, architecture=9, **_NEW)
_model("NVIDIA A100-SXM4-80GB", "8.0", (85899345920, 637534208), watts=400, links=12, gen=4, architecture=7, **_NEW)
_model("NVIDIA GeForce RTX 4090", "8.9", (25757220864, 400556032), watts=450, gen=4, architecture=8, brand=5)
_model("Tesla V100-SXM2-16GB", "7.0", (16945512448, 167772160), watts=300, links=6, gen=3, architecture=5, **_OLD)
_model("Tesla T4", "7.5", (16106127360, 450887680), watts=70, gen=3, architecture=6, **_OLD)

_DEFAULTS = {
    "memory_used": 0,
    "util_gpu": 0,
    "util_mem": 0,
    "power_mw": 70_123,
    "energy_mj": 123_456_789,
    "temperature": 31,
    "pstate": 0,
    "compute_mode": 0,
    "persistence_mode": 1,
    "clocks_event_reasons": 1,
    "accounting_mode": 0,
    "gpm": {},
    "pcie_gen": 4,
    "pcie_gen_max": 4,
    "pcie_width": 16,
    "pcie_width_max": 16,
    "pcie_replays": 0,
    "pcie_tx_kib": 0,
    "pcie_rx_kib": 0,
    "fields": {"230": 0},  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: none
}

# As on a DGX H100: four on each socket.
ADDRESSES = ("18:00.0", "2A:00.0", "3A:00.0", "5D:00.0", "9A:00.0", "AB:00.0", "BA:00.0", "DB:00.0")
SWITCH = "0000:07:00.0"
CPUS = ("0-31,64-95", "32-63,96-127")


def box_state(
    models: Sequence[str],
    *,
    driver: str,
    cuda: str,
    minors: Sequence[int],
    mig: Mapping[int, Sequence[str | None]],
    topology: str,
    machine: str,
) -> dict[str, Any]:
    major, _, minor = cuda.partition(".")
    return {
        "system": {
            "driver_version": driver,
            "nvml_version": f"{major}.{driver}",
            "cuda_version": 1000 * int(major) + 10 * int(minor or 0),
        },
        "process_names": {},
        "errors": {},
        "delays_ms": {},
        "defaults": _DEFAULTS,
        "gpus": [_gpu(index, models, minors[index], mig.get(index), topology, machine) for index in range(len(models))],
        "events": [],
    }


def numa_node_of(index: int, count: int) -> int:
    return int(count > 1 and index >= (count + 1) // 2)


def capability_minors(minor: int, gpu_instance: int, compute_instance: int = 0) -> tuple[int, int]:
    """Minors of the two capability nodes of a slice, numbered as the driver does: 15 GPU instances of 8 compute instances."""
    first = 3 + 135 * minor + 9 * gpu_instance
    return first, first + 1 + compute_instance


def _gpu(
    index: int, models: Sequence[str], minor: int, slices: Sequence[str | None] | None, topology: str, machine: str
) -> dict[str, Any]:
    count = len(models)
    node = numa_node_of(index, count)
    model = MODELS[models[index]]
    gpu: dict[str, Any] = {
        **model,
        "name": models[index],
        "uuid": f"GPU-{_uuid(f'{machine}gpu', index)}",
        "serial": f"165012300{index:04}",
        "minor": minor,
        "pci_bus_id": f"0000:{ADDRESSES[index % 8]}" if index < 8 else f"0001:{ADDRESSES[index % 8]}",
        "cpus": CPUS[node],
        "numa_node": node,
        "topology": {str(other): _ancestor(index, other, count) for other in range(count) if other != index},
        "processes": [],
        "graphics": [],
        "mps": [],
        "accounting": [],
        "errors": {},
        "delays_ms": {},
        "fields": {},
    }
    gpu["nvlink"] = _nvlink(index, int(model.get("nvlink", {}).get("links", 0)), topology, count)
    if gpu["nvlink"].get("remote") == SWITCH and count > 1 and model["architecture"] >= _HOPPER:
        gpu["fabric"] = {"state": 3, "status": 0}  # set up
    if slices is not None:
        gpu["mig_mode"] = 1
        gpu["mig"] = [
            None if profile is None else _slice(index, models[index], minor, n, profile) for n, profile in enumerate(slices)
        ]
    return gpu


def _ancestor(index: int, other: int, count: int) -> int:
    """Pairs share a switch, the GPUs of a socket its host bridges; else it goes across."""
    if numa_node_of(index, count) != numa_node_of(other, count):
        return 50
    return 10 if index // 2 == other // 2 else 40


def _nvlink(index: int, links: int, topology: str, count: int) -> dict[str, Any]:
    partner = index ^ 1
    if topology == "pcie" or links == 0 or (topology == "pairs" and partner >= count):
        return {"links": 0}
    if topology == "nvswitch":
        return {"links": links, "remote": SWITCH, "down": {}}
    assert topology == "pairs", topology
    return {"links": 4, "remote": f"0000:{ADDRESSES[partner]}", "down": {}}


def _slice(gpu: int, model: str, minor: int, number: int, profile: str) -> dict[str, Any]:
    compute, memory = profile.removesuffix("gb").split("g.")
    instance = number + 1
    return {
        "uuid": f"MIG-{_uuid('mig', gpu, number)}",
        "name": f"{model} MIG {profile}",
        "gi": instance,
        "ci": 0,
        "caps": list(capability_minors(minor, instance)),
        "memory_total": int(float(memory) * 0.95 * GIB),
        "memory_used": 0,
        "memory_reserved": 20 << 20,
        "sm": 16 * int(compute),
        "gpu_slices": int(compute),
        "compute_slices": int(compute),
        "gpm": {},
    }


def _uuid(*name: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "-".join(map(str, name))))
