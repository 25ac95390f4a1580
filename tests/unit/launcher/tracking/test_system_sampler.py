"""System metrics from a run's cgroup."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from journal_lines import read_lines

from launcher.journal.run_journal import Journal
from launcher.tracking.metrics.system_sampler import SystemSampler
from launcher.tracking.mlflow.description import Description
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import OomKills
from runtime.kernel.process_table import Traffic
from runtime.state_dir import RunDir


def sampler_of(tmp_path: Path, interval_s: float | None, **reads: Any) -> SystemSampler:
    return SystemSampler(RunDir(tmp_path), described(interval_s), Journal(RunDir(tmp_path).journal), **reads)


def described(interval_s: float | None) -> Description:
    return Description("digits", "digits", "ada", 0, system_interval_s=interval_s, cpus=2, memory_bytes=1_000_000_000)


def test_samples_say_what_the_run_took_of_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    used = iter([Usage(), Usage(cpu_s=1.0, memory_bytes=5), Usage(cpu_s=3.0, memory_bytes=250_000_000), Usage()])
    sampler = sampler_of(tmp_path, 10.0, read=lambda: next(used, Usage()))
    for _ in range(40):
        sampler.sample_when_due()
        clock[0] += 0.5
    (sample,) = [json.loads(line) for line in (tmp_path / "system.jsonl").read_text().splitlines()]
    assert 50.0 == sample["cpu_utilization_percentage"], "2 cpu seconds in 2 s on 2 cores"
    assert (250.0, 25.0) == (sample["system_memory_usage_megabytes"], sample["system_memory_usage_percentage"])


def test_pressure_is_the_share_of_the_time_in_which_a_thread_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    used = iter([Usage(cpu_s=0.0, memory_waited_s=1.0), Usage(cpu_s=0.0, memory_waited_s=1.5, io_waited_s=9.0)])
    sampler = sampler_of(tmp_path, 10.0, read=lambda: next(used, Usage()))
    for _ in range(5):
        sampler.sample_when_due()
        clock[0] += 0.5
    (sample,) = [json.loads(line) for line in (tmp_path / "system.jsonl").read_text().splitlines()]
    assert 25.0 == sample["memory_pressure_percentage"]
    assert "io_pressure_percentage" not in sample, "since when it waited is not known"


def test_what_was_moved_is_counted_and_the_file_system_of_the_outputs_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    moved = Usage(cpu_s=0.0, io_read_bytes=5_000_000, io_written_bytes=1_500_000)
    sampler = sampler_of(tmp_path, 10.0, read=lambda: moved, traffic=lambda: Traffic(7_000_000, 2_000))
    for _ in range(5):
        sampler.sample_when_due()
        clock[0] += 0.5
    (sample,) = [json.loads(line) for line in (tmp_path / "system.jsonl").read_text().splitlines()]
    assert (7.0, 0.002) == (sample["network_receive_megabytes"], sample["network_transmit_megabytes"])
    assert (5.0, 1.5) == (sample["disk_read_megabytes"], sample["disk_write_megabytes"])
    free = os.statvfs(tmp_path)
    assert sample["disk_available_megabytes"] == pytest.approx(free.f_bavail * free.f_frsize / 1e6, rel=0.1)


def test_a_killed_process_is_told_while_the_program_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    used = iter([Usage(cpu_s=0.0), Usage(cpu_s=0.0, oom_kills=1), Usage(cpu_s=0.0, oom_kills=1)])
    killed = OomKills(1, limit_bytes=64 << 20)
    sampler = sampler_of(tmp_path, 1.0, read=lambda: next(used, Usage(cpu_s=0.0, oom_kills=1)), oom_kills=lambda: killed)
    for _ in range(10):
        sampler.sample_when_due()
        clock[0] += 0.5
    notes = [event.get("text") for event in read_lines(RunDir(tmp_path).journal)]
    assert ["1 of its processes was killed at the memory limit of 64 MiB; the program goes on"] == notes


def test_null_takes_none(tmp_path: Path) -> None:
    sampler_of(tmp_path, None, read=lambda: pytest.fail("read")).sample_when_due()
    assert not (tmp_path / "system.jsonl").exists()
