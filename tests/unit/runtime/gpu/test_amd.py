"""AMD's GPUs, read from the /sys of a box."""

from __future__ import annotations

import os
from collections.abc import Callable

from gpu_box import GpuBox

from runtime.gpu.gpu import GpuProcess
from runtime.gpu.inventory import read_gpus

Make = Callable[..., GpuBox]


def test_an_amd_tells_what_an_nvidia_does(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=2)
    (box.amd[0].device / "gpu_busy_percent").write_text("37\n")
    first, second = read_gpus()
    assert ("amd", 0, "GPU-6a1b2c3d4e5f0000", "AMD Instinct MI300X") == (first.vendor, first.index, first.uuid, first.model)
    assert ("gfx942", 206_141_652_992, 297_594_880) == (first.capability, first.memory_bytes, first.used_bytes)
    assert (37, 139.0, 41.0) == (first.busy_percent, first.power_w, first.temperature_c)
    assert ("0000:c2:00.0", 1) == (second.pci_bus_id, second.numa_node)
    assert ("/dev/dri/card1", "/dev/dri/renderD129") == second.render_nodes
    assert (None, ()) == (first.trouble, first.warnings)


def test_a_process_is_on_the_gpus_where_it_has_memory(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=2)
    box.add_amd_process(1, os.getpid(), used_bytes=1 << 30)
    (box.roots.sys / f"sys/class/kfd/kfd/proc/{os.getpid()}/vram_{box.amd[0].gpu_id}").write_text("0\n")
    first, second = read_gpus()
    assert ((), (GpuProcess(os.getpid(), 1 << 30),)) == (first.processes, second.processes)


def test_a_node_that_is_missing_is_trouble_of_that_gpu(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=2)
    (box.roots.dev / "dev/dri/renderD128").unlink()
    first, second = read_gpus()
    assert "renderD128` is missing" in str(first.trouble)
    assert second.trouble is None


def test_a_chip_without_a_unique_id_is_known_by_its_place(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=1)
    properties = box.roots.sys / "sys/class/kfd/kfd/topology/nodes/2/properties"
    properties.write_text(properties.read_text().replace(f"unique_id {0x6A1B2C3D4E5F0000}", "unique_id 0"))
    (gpu,) = read_gpus()
    assert "AMD-0000:c1:00.0" == gpu.uuid


def test_memory_errors_are_a_warning(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=1)
    (box.amd[0].device / "ras/umc_err_count").write_text("ue: 2\nce: 0\n")
    (gpu,) = read_gpus()
    assert ("2 memory errors could not be corrected since the driver was loaded",) == gpu.warnings


def test_they_come_behind_nvidias(gpu_box: Make) -> None:
    box = gpu_box(gpus=1, amd=1)
    assert [("nvidia", 0), ("amd", 1)] == [(gpu.vendor, gpu.index) for gpu in read_gpus()]
    assert box.uuids == tuple(gpu.uuid for gpu in read_gpus())


def test_partitions_of_one_chip_are_told_apart(gpu_box: Make) -> None:
    box = gpu_box(installed=False, amd=2)
    second = box.roots.sys / "sys/class/kfd/kfd/topology/nodes/3/properties"
    second.write_text(second.read_text().replace(f"unique_id {0x6A1B2C3D4E5F0001}", f"unique_id {0x6A1B2C3D4E5F0000}"))
    assert ["GPU-6a1b2c3d4e5f0000", "GPU-6a1b2c3d4e5f0000.1"] == [gpu.uuid for gpu in read_gpus()]
