"""AMD's GPUs and what they do now, as the kernel shows it: amdkfd lists what ROCm can use (/sys/class/kfd), amdgpu tells of each
(/sys/bus/pci).

A program opens /dev/kfd and the GPU's /dev/dri/renderD<n>; no library is needed to read any of this. Identity is the unique id
that the chip has, written as ROCm does (`GPU-6a1b2c3d4e5f0000`, ROCR_VISIBLE_DEVICES takes it); a chip without one, as many
integrated ones are, is known by its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runtime.gpu.gpu import Gpu, GpuLoad, GpuProcess
from runtime.gpu.pci_device import pci_directory, pci_place, read_text
from runtime.gpu.roots import Roots

_KFD = "sys/class/kfd/kfd"
_NOT_TOLD = "amdgpu doesn't tell"


def read_amd_gpus(roots: Roots, *, first_index: int = 0) -> tuple[Gpu, ...]:
    """The GPUs that ROCm can use, in its order; those of no use to it (an old chip, a display's) are not listed."""
    named = gpu_nodes(roots)
    return tuple(_gpu(uuid, node, first_index + count, roots) for count, (uuid, node) in enumerate(named.items()))


class KfdNode:
    """A node of the kernel's HSA topology: processors, or one GPU."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.id = int(directory.name)
        self.properties = {**read_properties(directory / "properties"), "gpu_id": read_text(directory / "gpu_id") or "0"}

    def number(self, name: str) -> int:
        value = self.properties.get(name, "0")
        return int(value) if value.isdigit() else 0

    @property
    def address(self) -> str:
        """`0000:c1:00.0`: bus, device and function are bits of `location_id`."""
        location = self.number("location_id")
        return f"{self.number('domain'):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def gpu_nodes(roots: Roots) -> dict[str, KfdNode]:
    """Identity → GPU. The partitions of one chip (MI300 in CPX mode) have one unique id: from the second on they are numbered."""
    named: dict[str, KfdNode] = {}
    for node in _nodes(roots):
        if node.number("gpu_id") == 0:  # processors
            continue
        unique = node.number("unique_id")
        name = f"GPU-{unique:016x}" if unique else f"AMD-{node.address}"
        same = sum(known.partition(".")[0] == name for known in named)
        named[f"{name}.{same}" if same else name] = node
    return named


def _nodes(roots: Roots) -> Iterator[KfdNode]:
    directory = roots.sys / _KFD / "topology/nodes"
    try:
        names = sorted((name for name in os.listdir(directory) if name.isdigit()), key=int)
    except OSError:
        return
    yield from (KfdNode(directory / name) for name in names)


def read_properties(file: Path) -> dict[str, str]:
    return dict(line.split(None, 1) for line in (read_text(file) or "").splitlines() if " " in line)


def _gpu(uuid: str, node: KfdNode, index: int, roots: Roots) -> Gpu:
    device = pci_directory(node.address, roots)
    place = pci_place(node.address, roots)
    memory = _number(device / "mem_info_vram_total") or _memory_banks(node.directory)
    processes = tuple(_processes(node.number("gpu_id"), roots))
    return Gpu(
        index=index,
        uuid=uuid,
        minor=node.number("drm_render_minor") or None,
        model=read_text(device / "product_name") or f"AMD {gfx_version(node)}",
        memory_bytes=memory,
        capability=gfx_version(node),
        pci_bus_id=node.address,
        pids=tuple(process.pid for process in processes),
        driver=read_text(roots.sys / "sys/module/amdgpu/version") or "amdgpu",
        trouble=_trouble(node, roots),
        vendor="amd",
        brand="AMD",
        used_bytes=_number(device / "mem_info_vram_used"),
        busy_percent=_number(device / "gpu_busy_percent"),
        power_w=_sensor(device, ("power1_average", "power1_input"), 1_000_000),
        temperature_c=_sensor(device, ("temp1_input",), 1_000),
        numa_node=place.numa_node,
        cpus=place.cpus,
        processes=processes,
        warnings=tuple(_warnings(device)),
        render_nodes=place.render_nodes,
    )


def gfx_version(node: KfdNode) -> str:
    """`gfx942` of 90402: two decimal digits each, the last of them in hexadecimal."""
    version = node.number("gfx_target_version")
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _trouble(node: KfdNode, roots: Roots) -> str | None:
    for name in ("kfd", f"dri/renderD{node.number('drm_render_minor')}"):
        device = roots.dev / "dev" / name
        if not device.exists():
            return f"its node `{device}` is missing (`modprobe amdgpu` as root)"
        if not os.access(device, os.R_OK | os.W_OK):
            return f"no permission to use `{device}` (join the groups `render` and `video`)"
    return None


def _warnings(device: Path) -> Iterator[str]:
    errors = read_text(device / "ras/umc_err_count") or ""
    counts: Mapping[str, str] = dict(line.split(": ", 1) for line in errors.splitlines() if ": " in line)
    if counts.get("ue", "0") not in ("0", ""):
        yield f"{counts['ue']} memory errors could not be corrected since the driver was loaded"


def _processes(gpu_id: int, roots: Roots) -> Iterator[GpuProcess]:
    directory = roots.sys / _KFD / "proc"
    try:
        pids = sorted(int(name) for name in os.listdir(directory) if name.isdigit())
    except OSError:
        return
    for pid in pids:
        # There is a file for every GPU that ROCm opened, which is all of them: what has memory there is on it.
        used = _number(directory / str(pid) / f"vram_{gpu_id}")
        if used:
            yield GpuProcess(pid=pid, used_bytes=used)


def _memory_banks(directory: Path) -> int | None:
    """Memory as the topology has it: heaps of type 1 and 2 are the GPU's own."""
    banks: Sequence[dict[str, str]] = [read_properties(file) for file in sorted(directory.glob("mem_banks/*/properties"))]
    return sum(int(bank.get("size_in_bytes", 0)) for bank in banks if bank.get("heap_type") in ("1", "2")) or None


def _sensor(device: Path, names: Sequence[str], units: int) -> float | None:
    """A reading of the GPU's hwmon device, in whole watts or degrees (hwmon/sysfs-interface.rst)."""
    files = (file for name in names for file in sorted(device.glob(f"hwmon/hwmon*/{name}")))
    values = (_number(file) for file in files)
    return next((value / units for value in values if value is not None), None)


def _number(file: Path) -> int | None:
    text = read_text(file)
    return int(text) if text is not None and text.isdigit() else None


class AmdLoadReader:
    """Reads *uuids* again and again, in ROCm's order, as far as amdgpu tells. Nothing of it hangs for long."""

    def __init__(self, roots: Roots, uuids: Sequence[str]) -> None:
        self._roots = roots
        here = [gpu.uuid for gpu in read_amd_gpus(roots) if gpu.uuid in uuids]
        self.uuids = (*filter(None, here), *(uuid for uuid in uuids if uuid not in here))

    def read(self) -> tuple[GpuLoad, ...]:
        here = {gpu.uuid: gpu for gpu in read_amd_gpus(self._roots)}
        return tuple(_load(uuid, here.get(uuid)) for uuid in self.uuids)


def are_amd_gpus(uuids: Sequence[str], roots: Roots) -> bool:
    """Whether *uuids* name GPUs of AMD: a lease has one vendor."""
    return any(gpu.uuid in uuids for gpu in read_amd_gpus(roots))


def _load(uuid: str, gpu: Gpu | None) -> GpuLoad:
    if gpu is None:
        return GpuLoad(uuid, lost=True, missing={"device": "amdgpu doesn't list it any more"})
    values = {
        "busy_percent": gpu.busy_percent,
        "used_bytes": gpu.used_bytes,
        "power_w": gpu.power_w,
        "temperature_c": gpu.temperature_c,
    }
    missing = {name: _NOT_TOLD for name, value in values.items() if value is None}
    return GpuLoad(uuid, **values, memory_bytes=gpu.memory_bytes, pids=gpu.pids, missing=missing)  # type: ignore[arg-type]
