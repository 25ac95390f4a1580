"""Reports are counted, not steps."""

from __future__ import annotations

import json
from pathlib import Path

from launcher.sweep.running import ReportTail
from runtime.state_dir import RunDir


def append(run_dir: RunDir, *points: tuple[str, float | str, int]) -> None:
    with run_dir.logged.open("a") as file:
        for key, value, step in points:
            file.write(json.dumps({"key": key, "value": value, "step": step, "time": 1}) + "\n")


def test_reports_come_as_they_are_written(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    tail = ReportTail(run_dir, "loss")
    assert [] == list(tail.new_values())
    append(run_dir, ("loss", 0.5, 1), ("val_loss", 9.0, 1), ("loss", "NaN", 2))
    with run_dir.logged.open("a") as file:
        file.write('{"key": "loss", "val')
    assert ["0.5", "nan"] == [str(value) for value in tail.new_values()]
    with run_dir.logged.open("a") as file:
        file.write('ue": 0.25, "step": 3}\n')
    assert [0.25] == list(tail.new_values())


def test_reports_of_one_step_count_each(tmp_path: Path) -> None:
    append(RunDir(tmp_path), ("loss", 3.0, 0), ("loss", 2.0, 0), ("loss", 1.0, 0))
    assert [3.0, 2.0, 1.0] == list(ReportTail(RunDir(tmp_path), "loss").new_values())


def test_steps_of_a_second_attempt_count_once(tmp_path: Path) -> None:
    append(RunDir(tmp_path), ("loss", 3.0, 1), ("loss", 2.0, 2), ("loss", 3.0, 1), ("loss", 2.0, 2), ("loss", 1.0, 3))
    assert [3.0, 2.0, 1.0] == list(ReportTail(RunDir(tmp_path), "loss").new_values())
