"""AMD GPUs of a box: what the kernel's amdgpu and amdkfd show in /sys. There is no library to fake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpu_box_driver import make_pci_device, write
from gpu_box_state import numa_node_of

MI300X = "AMD Instinct MI300X"
_MEMORY = 206_141_652_992
_XGMI, _PCIE = 11, 2


@dataclass(frozen=True)
class AmdGpu:
    uuid: str
    address: str
    device: Path
    """Its directory in /sys: a test writes `mem_info_vram_used`, `gpu_busy_percent`, …"""
    gpu_id: int


def make_amd(root: Path, count: int, *, first: int) -> tuple[AmdGpu, ...]:
    """*count* GPUs, the first of them the box's number *first*; all of them connected by xGMI."""
    gpus = tuple(_gpu(root, number, first + number, count) for number in range(count))
    topology = root / "sys/class/kfd/kfd/topology/nodes"
    for node in (0, 1):  # the processors
        write(topology / f"{node}/gpu_id", "0\n")
        write(topology / f"{node}/properties", "cpu_cores_count 64\nsimd_count 0\n")
    for number, gpu in enumerate(gpus):
        _node(topology / str(2 + number), gpu, number, first + number, count)
    (root / "sys/class/kfd/kfd/proc").mkdir(parents=True)
    return gpus


def amd_nodes(count: int, *, first: int) -> Iterator[str]:
    yield "kfd"
    for number in range(first, first + count):
        yield f"dri/card{number}"
        yield f"dri/renderD{128 + number}"


def add_kfd_process(root: Path, pid: int, gpu: AmdGpu, used_bytes: int) -> None:
    write(root / f"sys/class/kfd/kfd/proc/{pid}/vram_{gpu.gpu_id}", f"{used_bytes}\n")


def _gpu(root: Path, number: int, drm: int, count: int) -> AmdGpu:
    address = f"0000:{0xC1 + number:02x}:00.0"
    device = make_pci_device(root, address, drm, node=numa_node_of(number, count), vendor="0x1002")
    unique = f"{0x6A1B2C3D4E5F0000 + number:016x}"
    for name, text in {
        "unique_id": unique,
        "product_name": MI300X,
        "device": "0x74a1",
        "mem_info_vram_total": str(_MEMORY),
        "mem_info_vram_used": "297594880",
        "gpu_busy_percent": "0",
        "current_link_speed": "32.0 GT/s PCIe",
        "ras/umc_err_count": "ue: 0\nce: 0",
        "hwmon/hwmon0/power1_average": "139000000",
        "hwmon/hwmon0/temp1_input": "41000",
    }.items():
        write(device / name, f"{text}\n")
    (device / "driver").symlink_to(root / "sys/bus/pci/drivers/amdgpu")
    write(root / "sys/module/amdgpu/version", "6.12.12\n")
    return AmdGpu(uuid=f"GPU-{unique}", address=address, device=device, gpu_id=51_000 + number)


def _node(directory: Path, gpu: AmdGpu, number: int, drm: int, count: int) -> None:
    domain, bus, rest = gpu.address.split(":")
    location = int(bus, 16) << 8 | int(rest.split(".")[0], 16) << 3
    properties = {
        "cpu_cores_count": 0,
        "simd_count": 1216,
        "gfx_target_version": 90402,
        "vendor_id": 0x1002,
        "device_id": 0x74A1,
        "location_id": location,
        "domain": int(domain, 16),
        "drm_render_minor": 128 + drm,
        "unique_id": int(gpu.uuid.removeprefix("GPU-"), 16),
    }
    write(directory / "gpu_id", f"{gpu.gpu_id}\n")
    write(directory / "name", "ip discovery\n")
    write(directory / "properties", "".join(f"{name} {value}\n" for name, value in properties.items()))
    write(directory / "mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {_MEMORY}\n")
    links = [(_PCIE, number % 2), *((_XGMI, 2 + other) for other in range(count) if other != number)]
    for at, (kind, to) in enumerate(links):
        write(directory / f"io_links/{at}/properties", f"type {kind}\nnode_from {2 + number}\nnode_to {to}\nweight 15\n")
