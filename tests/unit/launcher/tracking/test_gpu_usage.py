"""What a run's GPUs cost: hours by the journal, energy by the meters."""

from __future__ import annotations

from pathlib import Path

from journal_lines import state_after

from launcher.tracking.record.gpu_usage import gpu_usage, load_meters, store_meters
from runtime.gpu.energy import EnergyMeter
from runtime.state_dir import RunDir

TWO = {"gpus": ["GPU-a", "GPU-b"]}


def test_gpus_cost_hours_from_the_lease_to_the_end_of_its_attempt(tmp_path: Path) -> None:
    run = state_after(
        tmp_path,
        ("queued", 0),
        ("leased", 1_800, TWO),
        ("attempt", 3_600, {"attempt": 1, "reason": "oom"}),
        ("leased", 7_200, {"gpus": ["GPU-a"]}),
        ("finished", 10_800),
    )
    assert 1 + 1 == run.gpu_hours(99_999)


def test_an_attempt_that_has_not_ended_counts_until_now(tmp_path: Path) -> None:
    assert 3 == state_after(tmp_path, ("leased", 0, TWO)).gpu_hours(5_400)


def test_a_part_of_a_gpu_costs_a_part_of_an_hour(tmp_path: Path) -> None:
    assert 0.5 == state_after(tmp_path, ("leased", 0, {"gpus": ["GPU-a"], "shares": [0.25]})).gpu_hours(7_200)


def test_a_run_without_gpus_has_no_usage_of_them(tmp_path: Path) -> None:
    assert {} == gpu_usage(RunDir(tmp_path), state_after(tmp_path, ("leased", 0)), until=3_600)


def test_energy_is_the_sum_of_what_was_measured(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    store_meters(run_dir, {"GPU-a": EnergyMeter(joules=3_600, known=True), "GPU-b": EnergyMeter()})
    assert {"gpu_hours": 2, "gpu_energy_wh": 1} == gpu_usage(run_dir, state_after(tmp_path, ("leased", 0, TWO)), until=3_600)
    assert 3_600 == load_meters(run_dir)["GPU-a"].joules


def test_a_file_that_is_no_record_of_meters_measures_nothing(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.gpu_energy.write_text('{"GPU-a": 3}')
    assert {} == load_meters(run_dir)
