"""Telemetry of a real GPU under load: energy, use, clocks, accounting, and whose process it is."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from machine_root import run_on
from programs import HERE, cuda_work, ends, line, program

from runtime.gpu import watcher
from runtime.gpu.energy import EnergyMeter
from runtime.gpu.gpu import Gpu, GpuLoad, slowdowns
from runtime.gpu.inventory import read_gpus

pytestmark = pytest.mark.gpu

LOAD_S, EVERY_S = 60.0, 1.0
INITIAL_PID_NAMESPACE = 0xEFFFFFFC


@contextmanager
def watched(uuid: str, *, every_s: float) -> Iterator[int]:
    """The end to read the watcher's lines from."""
    pid, lines, end = watcher.start([uuid], interval_s=every_s)
    try:
        yield lines
    finally:
        os.close(end)
        os.waitpid(pid, 0)
        os.close(lines)


def said(lines: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Documents as they come, for *seconds*."""
    deadline, rest = time.monotonic() + seconds, b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([lines], [], [], left)[0] or not (chunk := os.read(lines, 1 << 16)):
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, whole)


def test_a_minute_of_load_is_seen_and_its_energy_is_that_of_its_power(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    by_counter, by_power, loads = EnergyMeter(), EnergyMeter(), list[GpuLoad]()
    with cuda_work(gpus[0].uuid, "burn", str(LOAD_S + 10)), watched(str(gpus[0].uuid), every_s=EVERY_S) as lines:
        for document in said(lines, LOAD_S):
            load = GpuLoad.from_json(document["loads"][0])
            loads.append(load)
            by_counter.feed(document["at"], counter_j=load.energy_j, power_w=None)
            by_power.feed(document["at"], counter_j=None, power_w=load.power_w)
    evidence |= {"readings": len(loads), "last": loads[-1].to_json(), "slowdowns": slowdowns(loads[-1].clock_reasons)}
    evidence |= {"energy_j": by_counter.joules, "power_over_time_j": by_power.joules}
    busy = sorted(load.busy_percent or 0 for load in loads[3:])
    assert busy[len(busy) // 2] > 90
    assert len(loads) > 0.8 * LOAD_S / EVERY_S
    assert loads[-1].clock_reasons is not None
    assert loads[-1].sm_clock_mhz
    if not by_counter.known:
        pytest.skip(f"no counter of energy: {loads[-1].missing.get('energy_j')}")
    assert by_counter.joules == pytest.approx(by_power.joules, rel=0.05)


def test_a_program_in_a_container_is_known_by_its_pid_outside(
    gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]
) -> None:
    if os.stat("/proc/self/ns/pid").st_ino != INITIAL_PID_NAMESPACE:
        pytest.skip("this machine is itself in a PID namespace: NVML tells pids that are not ours")
    before = {process.pid for gpu in read_gpus() for process in gpu.processes}
    with cuda_work(gpus[0].uuid, "hold", "4096", "60") as outside:
        there = {process.pid for process in read_gpus()[gpus[0].index].processes} - before
        evidence["outside"] = {"pid": outside.pid, "told": sorted(there)}
        assert there == {outside.pid}
    source = (HERE / "cuda_work.py").read_text().replace("main(*sys.argv[1:])", 'main("hold", "4096", "5")')
    with program("onlooker.py", str(gpus[0].uuid), "15") as onlooker:
        assert line(onlooker) == "looking"
        code, output = run_on(tmp_path, gpus[:1], source)
        told = {int(pid): inside for pid, inside in json.loads(line(onlooker)).items()}
    evidence["inside"] = {"code": code, "says": output, "told": told}
    assert code == 0
    assert [2 <= len(inside) for pid, inside in told.items() if pid not in before] == [True]


@pytest.mark.requires("root")
def test_accounting_tells_what_an_ended_program_had(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    """Only looked at: whether it is on is the administrator's to say."""
    with cuda_work(gpus[0].uuid, "burn", "3") as worker:
        assert ends(worker)[0] == 0
    ask = (
        "import json\nfrom runtime.gpu.nvidia.nvml import open_nvml\n"
        "with open_nvml() as nvml:\n"
        f"    gpu = nvml.nvmlDeviceGetHandleByUUID({str(gpus[0].uuid)!r})\n"
        "    mode = nvml.nvmlDeviceGetAccountingMode(gpu)\n"
        "    pids = nvml.nvmlDeviceGetAccountingPids(gpu) if mode else []\n"
        f"    own = nvml.nvmlDeviceGetAccountingStats(gpu, {worker.pid}) if {worker.pid} in pids else None\n"
        "    facts = {'time_ms': own and own.time, 'memory': own and own.maxMemoryUsage}\n"
        "    print(json.dumps({'mode': mode, 'pids': len(pids), **facts}))"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60).stdout
    evidence |= json.loads(told)
    if not evidence["mode"]:
        pytest.skip("accounting is off (`nvidia-smi -am 1` as root turns it on)")
    assert evidence["pids"]
    if evidence["time_ms"] is None:
        pytest.skip("accounting counts by pids of another namespace")
    assert evidence["time_ms"] > 1000
