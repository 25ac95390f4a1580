"""Readings of GPUs and slices by the real nvidia-ml-py, on a machine with GPUs that isn't there."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import pynvml  # noqa: F401 - here, so that each child has it
import pytest
from gpu_box import GpuBox

from runtime.gpu.amd import AmdLoadReader, are_amd_gpus
from runtime.gpu.gpu import GpuLoad
from runtime.gpu.nvidia import nvml
from runtime.gpu.nvidia.load_reader import LoadReader
from runtime.gpu.nvidia.xid import XidEvents


@pytest.fixture
def box(gpu_box: Callable[..., GpuBox]) -> GpuBox:
    return gpu_box(gpus=2, mig={1: ["1g.10gb", None, "3g.40gb"]})


def in_a_child(question: Callable[[Any], Any]) -> Any:
    """What *question* makes of NVML: it stays where it was opened first."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with nvml.open_nvml() as module:
            os.write(write_end, json.dumps(question(module)).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        content = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(content)


def readings(*uuids: str, times: int = 1, meanwhile: Callable[[], object] = lambda: None) -> list[list[GpuLoad]]:
    def read(module: Any) -> list[list[dict[str, Any]]]:
        reader = LoadReader(module, uuids)
        found = []
        for _ in range(times):
            found.append([load.to_json() for load in reader.read()])
            meanwhile()
        return found

    return [[GpuLoad.from_json(load) for load in reading] for reading in in_a_child(read)]


def set_up(box: GpuBox, gpu: int, **values: Any) -> None:
    box.state["gpus"][gpu] |= values
    box.save()


def test_the_watcher_asks_a_driver_that_fills_wrong_structures_by_the_older_call(gpu_box: Callable[..., GpuBox]) -> None:
    old = gpu_box(gpus=1, driver="535.54.03", cuda="12.2")
    for pid in (100, 200, 300):
        old.add_process(0, pid)
    assert (100, 200, 300) == readings(old.uuids[0])[0][0].pids


def test_a_gpu_tells_what_it_does(box: GpuBox) -> None:
    set_up(box, 0, util_gpu=93, power_mw=412_500, energy_mj=7_200_000, temperature=61, clocks_event_reasons=4)
    set_up(box, 0, fields={"197": 5, "198": 6, "138": 7, "139": 8})
    box.add_process(0, os.getpid(), used_bytes=3 << 30)
    ((load,),) = readings(box.uuids[0])
    assert (93, 412.5, 7_200, 61, 4) == (load.busy_percent, load.power_w, load.energy_j, load.temperature_c, load.clock_reasons)
    assert (5, 6, 7_168, 8_192) == (
        load.pcie_sent_bytes,
        load.pcie_received_bytes,
        load.nvlink_sent_bytes,
        load.nvlink_received_bytes,
    )
    assert (os.getpid(),) == load.pids
    assert (3 << 30) <= (load.used_bytes or 0) < (load.memory_bytes or 0)
    assert {} == load.missing


def test_a_driver_that_does_not_count_traffic_tells_its_speed_or_why_not(box: GpuBox) -> None:
    set_up(box, 0, fields={}, pcie_tx_kib=1_000)
    box.state["defaults"]["fields"] = {}
    box.save()
    ((load,),) = readings(box.uuids[0])
    assert 1_024_000 == load.pcie_send_bytes_per_s
    assert load.nvlink_sent_bytes is None
    assert "Not Supported" == load.missing["nvlink_sent_bytes"]


def test_a_slice_tells_its_own_memory_and_processes_and_its_cards_clocks(box: GpuBox) -> None:
    first, last = box.mig_uuids(1)
    box.add_process(1, os.getpid(), mig=2)
    set_up(box, 1, temperature=55)
    ((of_first, of_last),) = readings(first, last)
    assert ((), (os.getpid(),)) == (of_first.pids, of_last.pids)
    assert (of_first.memory_bytes or 0) < (of_last.memory_bytes or 0)
    assert 55 == of_last.temperature_c
    assert of_last.energy_j is None
    assert "measured for the whole card only" == of_last.missing["energy_j"]


def test_a_slices_use_is_told_from_the_second_reading_on(box: GpuBox) -> None:
    box.state["gpus"][1]["mig"][2]["gpm"] = {"1": 37.5}
    box.save()
    _first, last = box.mig_uuids(1)
    assert [None, 37.5] == [load.busy_percent for (load,) in readings(last, times=2)]


def test_a_lost_gpu_hides_no_other(box: GpuBox) -> None:
    whole, (of_slice, _other) = box.uuids[0], box.mig_uuids(1)
    before, after = readings(of_slice, whole, times=2, meanwhile=lambda: (box.lose(0), time.sleep(0.01)))
    assert [whole, of_slice] == [load.uuid for load in before], "in the order of the bus"
    assert [True, False] == [load.lost for load in after]
    assert after[1].used_bytes is not None


def test_an_xid_concerns_the_slice_that_it_names_or_all_of_the_card(box: GpuBox) -> None:
    first, last = box.mig_uuids(1)
    of_last = box.state["gpus"][1]["mig"][2]["gi"]

    def told(module: Any) -> list[Any]:
        events = XidEvents(module, (box.uuids[0], first, last))
        box.state["events"] = [{"gpu": 1, "data": 31, "gi": of_last}, {"gpu": 1, "data": 48}]
        box.save()
        return [events.wait(1_000), events.wait(1_000)]

    assert [[[last, 31]], [[first, 48], [last, 48]]] == in_a_child(told)


def test_amds_gpus_tell_what_the_kernel_shows_of_them(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(installed=False, amd=2)
    device = box.amd[1].device
    (device / "gpu_busy_percent").write_text("73\n")
    box.add_amd_process(1, os.getpid(), used_bytes=1 << 30)
    first, second = AmdLoadReader(box.roots, box.uuids[::-1]).read()
    assert box.uuids == (first.uuid, second.uuid)
    assert (73, (os.getpid(),)) == (second.busy_percent, second.pids)
    assert not second.lost
    assert are_amd_gpus(box.uuids, box.roots)
    assert not are_amd_gpus(("GPU-of-nobody",), box.roots)


def test_an_amd_gpu_that_is_not_listed_any_more_is_lost(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(installed=False, amd=1)
    reader = AmdLoadReader(box.roots, box.uuids)
    shutil.rmtree(box.roots.sys / "sys/class/kfd")
    (load,) = reader.read()
    assert load.lost
