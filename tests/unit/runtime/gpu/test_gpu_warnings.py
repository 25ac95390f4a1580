"""What is told about a run's GPUs, and how often."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.gpu.gpu import GpuLoad
from runtime.gpu.gpu_warnings import GpuWarnings


def load(uuid: str = "GPU-a", *, busy: float | None = 50, used: int = 10, **more: object) -> GpuLoad:
    values = {"busy_percent": busy, "used_bytes": used, "memory_bytes": 100, "pids": (7,), "temperature_c": 91.0}
    return GpuLoad(uuid, **{**values, **more})  # type: ignore[arg-type]


def nobody(_pid: int) -> None:
    return None


def told(concerns: GpuWarnings, *readings: tuple[float, Sequence[GpuLoad]]) -> list[str]:
    return [words for at, loads in readings for words in concerns.about(loads, at_s=at, owner=nobody)]


def test_a_gpu_that_does_nothing_for_ten_minutes_is_told_once() -> None:
    sentences = told(GpuWarnings(), *((at, [load(busy=0)]) for at in range(0, 3_000, 10)))
    assert ["its GPU has done nothing for 10 min; `gpu.stop_when_idle=30m` would end such a run"] == sentences


def test_work_in_between_begins_the_wait_anew() -> None:
    concerns = GpuWarnings()
    assert not told(concerns, (0, [load(busy=0)]), (590, [load(busy=3)]), (1_100, [load(busy=0)]))
    assert 510 == concerns.idle_s(1_100)
    assert told(concerns, (1_200, [load(busy=0)]))


def test_a_gpu_that_is_left_out_by_its_program_is_named() -> None:
    concerns = GpuWarnings()
    sentences = told(concerns, *((at, [load("GPU-a"), load("GPU-b", busy=0)]) for at in (0, 300, 600)))
    assert ["GPU 1 of 2 has done nothing for 10 min: does the program use all its GPUs?"] == sentences
    assert 0 == concerns.idle_s(600), "the run as a whole is not idle"


def test_a_slice_tells_no_use_and_counts_as_idle_without_a_process() -> None:
    concerns = GpuWarnings()
    told(concerns, (0, [load(busy=None)]), (700, [load(busy=None)]))
    assert 0 == concerns.idle_s(700)
    told(concerns, (800, [load(busy=None, pids=())]))
    assert 100 == concerns.idle_s(800)


def test_a_paused_run_is_not_idle() -> None:
    concerns = GpuWarnings()
    told(concerns, (0, [load(busy=0)]))
    concerns.skip_pause(500)
    assert 10 == concerns.idle_s(510)


def test_each_slowdown_is_told_once_in_words() -> None:
    hot, at_its_power_cap = load(clock_reasons=0x48), load(clock_reasons=0x04)
    sentences = told(GpuWarnings(), (0, [at_its_power_cap]), (10, [hot]), (20, [hot]))
    assert ["its GPU is slowed down: hardware thermal slowdown: it is much too hot (91 °C)"] == sentences


def test_memory_that_is_nearly_full_is_told_once() -> None:
    sentences = told(GpuWarnings(), (0, [load(used=96)]), (10, [load(used=98)]), (20, [load(used=99)]))
    assert ["memory of its GPU is 98 % full: a larger batch may not fit"] == sentences


def test_each_stranger_on_a_gpu_is_told_once() -> None:
    concerns = GpuWarnings()
    strangers = {8: "process 8 (python3) of bob"}
    sentences = [words for at in (0, 10) for words in concerns.about([load(pids=(7, 8))], at_s=at, owner=strangers.get)]
    assert [
        "its GPU is used from outside the run, too: process 8 (python3) of bob; results and times may be disturbed"
    ] == sentences
