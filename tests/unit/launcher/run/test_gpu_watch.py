"""What the supervisor does with what is read of the run's GPUs, on a machine with GPUs that isn't there."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pynvml  # noqa: F401 - here, so that each watcher, a fork of this process, has it
import pytest
from gpu_box import GpuBox
from gpu_racers import plan_for
from journal_lines import read_lines

from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.run.gpus.gpu_pool import GpuPool
from launcher.run.gpus.gpu_watch import GpuWatch, gpus_with_hardware_errors
from launcher.run.supervisor.attempt import StopRequest
from launcher.tracking.record.gpu_usage import load_meters
from runtime.state_dir import RunDir

WITHIN_S = 10.0


@pytest.fixture
def box(gpu_box: Callable[..., GpuBox]) -> GpuBox:
    return gpu_box(gpus=2)


@pytest.fixture
def watching(box: GpuBox, tmp_path: Path) -> Iterator[Callable[..., GpuWatch]]:
    started: list[GpuWatch] = []
    (tmp_path / "abc123").mkdir()

    def start(**changes: Any) -> GpuWatch:
        settings = {"interval_s": 0.05, "sampling": True, "shared": False, "stop_when_idle_s": None, "meters": {}, **changes}
        run_dir = RunDir(tmp_path / "abc123")
        watch = GpuWatch(run_dir, Journal(run_dir.journal), box.uuids[::-1], **settings)
        watch.start()
        started.append(watch)
        return watch

    yield start
    for watch in started:
        watch.finish()
    assert "launch-gpus" not in names_of_children()


def names_of_children() -> set[str]:
    """Of this process, those that nobody has reaped included."""
    names = set()
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with suppress(FileNotFoundError):
            names.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def until(watch: GpuWatch, happened: Callable[[], object]) -> StopRequest | None:
    """Take in what comes until something *happened* or the run is to end."""
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline, notes(watch)
        if watch.fd >= 0 and select.select([watch.fd], [], [], 0.05)[0] and (demand := watch.take_in()) is not None:
            return demand
        watch.look()
    return None


def notes(watch: GpuWatch) -> list[str]:
    return [event.get("text") for event in read_lines(watch.run_dir.journal) if event.name == "note"]


def samples(watch: GpuWatch) -> list[dict[str, float]]:
    path = watch.run_dir.system_metrics
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_readings_become_system_metrics_in_the_order_of_the_bus(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    box.state["gpus"][0] |= {"util_gpu": 93, "memory_used": 40 << 30, "power_mw": 412_000, "temperature": 61}
    box.state["gpus"][1] |= {"util_gpu": 7}
    box.save()
    watch = watching()
    until(watch, lambda: samples(watch))
    first = samples(watch)[0]
    assert (93, 7) == (first["gpu_0_utilization_percentage"], first["gpu_1_utilization_percentage"])
    assert (412, 61) == (first["gpu_0_power_usage_watts"], first["gpu_0_temperature_celsius"])
    assert 50 == pytest.approx(first["gpu_0_memory_usage_percentage"], abs=1)
    assert box.uuids == watch.uuids


def test_energy_is_metered_and_survives_another_supervisor(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    def counted(joules: int) -> None:
        box.state["gpus"][0]["energy_mj"] = joules * 1000
        box.save()

    counted(1_000)
    watch = watching()
    until(watch, lambda: watch.meters)
    counted(1_360)
    until(watch, lambda: watch.meters[box.uuids[0]].joules == 360)
    watch.finish()
    counted(1_400)
    successor = watching(meters=load_meters(watch.run_dir))
    until(successor, lambda: successor.meters[box.uuids[0]].joules == 400)


def test_a_last_reading_is_taken_at_the_end(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    box.state["gpus"][0]["energy_mj"] = 0
    box.save()
    watch = watching(interval_s=60)
    until(watch, lambda: watch.meters)
    box.state["gpus"][0]["energy_mj"] = 5_000
    box.save()
    watch.finish()
    assert 5 == watch.meters[box.uuids[0]].joules


def test_an_xid_of_the_programs_is_noted_and_nothing_more(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(interval_s=60)
    until(watch, lambda: samples(watch))
    box.fire_xid(1, 31)
    until(watch, lambda: notes(watch))
    assert f"GPU 1 ({box.uuids[1]}) reports Xid 31" in notes(watch)[0]
    assert watch.spoiled is None


def test_a_gpu_that_falls_off_the_bus_ends_the_run(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(interval_s=60)
    until(watch, lambda: samples(watch))
    box.lose(0)  # it doesn't tell its UUID any more
    box.fire_xid(0, 79)
    demand = until(watch, lambda: False)
    assert StopRequest(Reason.GPU_LOST, "Xid 79 on GPU 0: the GPU has fallen off the bus") == demand


def test_a_gpu_that_answers_nothing_any_more_ends_the_run(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching()
    until(watch, lambda: samples(watch))
    box.lose(1)
    demand = until(watch, lambda: False)
    assert StopRequest(Reason.GPU_LOST, "GPU 1 is lost: NVML can't talk to it any more") == demand


def test_an_error_of_the_hardware_spoils_the_attempt(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(interval_s=60)
    until(watch, lambda: samples(watch))
    box.fire_xid(0, 95)
    assert until(watch, lambda: watch.spoiled) is None
    assert "Xid 95 on GPU 0" in str(watch.spoiled)


def test_a_run_that_leaves_its_gpus_idle_is_stopped_when_asked_for(watching: Callable[..., GpuWatch]) -> None:
    demand = until(watching(stop_when_idle_s=0.3), lambda: False)
    assert StopRequest(Reason.STOPPED, "its 2 GPUs were idle for 0.3 s (`gpu.stop_when_idle`)") == demand


def test_work_on_one_gpu_keeps_the_run(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    box.state["gpus"][1]["util_gpu"] = 1
    box.save()
    watch = watching(stop_when_idle_s=0.2)
    assert until(watch, lambda: len(samples(watch)) > 8) is None


def test_a_stranger_that_came_later_is_noted(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
        pytest.skip("pids of NVML are those of the machine, and here they are others")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        watch = watching()
        watch.init_pid = 1 << 22  # nobody's: the largest pid there can be is one less
        until(watch, lambda: samples(watch))
        box.add_process(0, stranger.pid)
        until(watch, lambda: notes(watch))
        assert f"GPU 0 is used from outside the run, too: process {stranger.pid}" in notes(watch)[0]
        stranger.kill()


def test_the_runs_own_processes_are_no_strangers(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching()
    watch.init_pid = os.getppid()
    box.add_process(0, os.getpid())
    until(watch, lambda: len(samples(watch)) > 3)
    assert [] == notes(watch)


def test_a_hanging_nvml_is_noted_and_holds_up_nothing(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(silence_s=0.3)
    until(watch, lambda: samples(watch))
    box.delay("nvmlDeviceGetUtilizationRates", 60_000)
    until(watch, lambda: notes(watch))
    assert "NVML has not answered for" in notes(watch)[0]
    began = time.monotonic()
    watch.finish()
    assert 3 > time.monotonic() - began


def test_a_watcher_that_is_killed_gets_a_successor(watching: Callable[..., GpuWatch]) -> None:
    watch = watching()
    until(watch, lambda: samples(watch))
    known = len(samples(watch))
    os.kill(watch._pid, signal.SIGKILL)
    until(watch, lambda: len(samples(watch)) > known + 3)


def test_a_driver_that_does_not_answer_is_noted_once(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    box.fail("nvmlInitWithFlags", 18)
    watch = watching()
    until(watch, lambda: watch.fd < 0)
    (note,) = notes(watch)
    assert note.startswith("the GPUs are not watched: the NVIDIA driver was upgraded")


def test_a_full_disk_costs_notes_and_metrics_and_not_the_run(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(interval_s=60)
    until(watch, lambda: samples(watch))
    watch.run_dir.system_metrics.unlink()
    for file in (watch.run_dir.system_metrics, watch.run_dir.journal):
        file.mkdir()  # nothing can be written to either
    box.fire_xid(0, 95)
    assert until(watch, lambda: watch.spoiled) is None


def test_another_attempt_avoids_what_the_hardware_struck(watching: Callable[..., GpuWatch], box: GpuBox) -> None:
    watch = watching(interval_s=60)
    until(watch, lambda: samples(watch))
    box.fire_xid(0, 31)
    box.fire_xid(1, 48)
    until(watch, lambda: len(notes(watch)) == 2)
    struck = gpus_with_hardware_errors(watch.journal.read())
    assert {box.uuids[1]} == struck
    assert (box.uuids[0],) == GpuPool(plan_for(1), avoided=struck).request.offers
    assert set(box.uuids) == set(GpuPool(plan_for(2), avoided=struck).request.offers), "there are no others"
