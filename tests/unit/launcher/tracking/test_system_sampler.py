"""System metrics from a run's cgroup."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from launcher.tracking.description import Description
from launcher.tracking.system_sampler import SystemSampler
from runtime.cgroup.limits import Usage
from runtime.state_dir import RunDir


def described(interval_s: float | None) -> Description:
    return Description("digits", "digits", "ada", 0, system_interval_s=interval_s, cpus=2, memory_bytes=1_000_000_000)


def test_samples_say_what_the_run_took_of_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    used = iter([Usage(), Usage(cpu_s=1.0, memory_bytes=5), Usage(cpu_s=3.0, memory_bytes=250_000_000), Usage()])
    sampler = SystemSampler(RunDir(tmp_path), described(10.0), read=lambda: next(used, Usage()))
    for _ in range(40):
        sampler.sample_when_due()
        clock[0] += 0.5
    (sample,) = [json.loads(line) for line in (tmp_path / "system.jsonl").read_text().splitlines()]
    assert 50.0 == sample["cpu_utilization_percentage"], "2 cpu seconds in 2 s on 2 cores"
    assert (250.0, 25.0) == (sample["system_memory_usage_megabytes"], sample["system_memory_usage_percentage"])


def test_null_takes_none(tmp_path: Path) -> None:
    SystemSampler(RunDir(tmp_path), described(None), read=lambda: pytest.fail("read")).sample_when_due()
    assert not (tmp_path / "system.jsonl").exists()
