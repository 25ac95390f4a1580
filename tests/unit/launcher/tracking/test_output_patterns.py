"""Metrics that a program only prints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from launcher.tracking.metrics.metric_files import OutputPatterns, metric_files
from launcher.tracking.metrics.metric_log import MetricLog, read_entries
from runtime.state_dir import RunDir


def found(pattern: str, line: bytes) -> list[tuple[str, float, int | None]]:
    return [(each.key, each.value, each.step) for each in OutputPatterns({"loss": pattern}).in_line(line)]


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        pytest.param(r"loss=([0-9.]+)", b"epoch 3: loss=0.25, acc=0.9\n", [("loss", 0.25, None)], id="one group"),
        pytest.param(r"loss=([0-9.]+)", b"val_acc=0.9\n", [], id="another line"),
        pytest.param(r"loss=([0-9.]+)", b"the end: loss=0.25.\n", [("loss", 0.25, None)], id="a sentence's end"),
        pytest.param(r"loss=([0-9.]+)", b"loss=1 val_loss=2\n", [("loss", 1.0, None)], id="the first of a line"),
        pytest.param(r"loss=(\S+)", b"loss=-1.5e-3\n", [("loss", -0.0015, None)], id="exponent"),
        pytest.param(r"loss=(\S+)", b"loss=inf\n", [("loss", math.inf, None)], id="infinity"),
        pytest.param(r"step (?P<step>\d+).*loss=(\S+)", b"step 7: loss=1\n", [("loss", 1.0, 7)], id="step and a group"),
        pytest.param(r"(?P<value>\S+) (a|b) at (?P<step>\d+)", b"2 a at 9\n", [("loss", 2.0, 9)], id="named value"),
        pytest.param(r"loss=(\S+)", b"\xff\xfe loss=1\n", [("loss", 1.0, None)], id="bytes that are no text"),
        pytest.param(r"^ +1 +([\d.]+)", b"  1  \x1b[36m0.25\x1b[0m  0.9\n", [("loss", 0.25, None)], id="in colours"),
        pytest.param(r"\x1b\[36m([\d.]+)", b"  1  \x1b[36m0.25\x1b[0m\n", [("loss", 0.25, None)], id="by its colour"),
        pytest.param(r"loss=([0-9.]+)?", b"loss=\n", [], id="a group that took no part"),
    ],
)
def test_what_a_pattern_finds(pattern: str, line: bytes, expected: list[tuple[str, float, int | None]]) -> None:
    assert expected == found(pattern, line)


def test_nan_is_a_value() -> None:
    assert math.isnan(found(r"loss=(\S+)", b"loss=nan\n")[0][1])


def test_what_fits_and_is_no_number_is_told_once(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, {"loss": r"loss=(\S+)"})
    run_dir.stdout.write_text("loss=?\nloss=1\nloss=none\n")
    log = MetricLog(run_dir)
    follow(run_dir, log)
    assert [("loss", 1.0, 0)] == logged(run_dir)
    assert ["stdout.log has a line that cannot be read: b'loss=?' (`?` is no number for `loss`)"] == log.notes


def test_both_streams_are_read_and_a_progress_bars_steps_are_lines(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, {"loss": r"loss=([0-9.]+)", "acc": r"acc=([0-9.]+)"})
    run_dir.stderr.write_bytes(b"10%| loss=3 acc=0.1\r20%| loss=2\r30%| lo")
    run_dir.stdout.write_text("acc=0.5\n")
    follow(run_dir, MetricLog(run_dir))
    assert [("acc", 0.5, 0), ("loss", 3.0, 0), ("acc", 0.1, 1), ("loss", 2.0, 1)] == logged(run_dir)


def test_another_tracker_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    run_dir = run_with(tmp_path, {"loss": r"loss=([0-9.]+)"})
    for line in ("loss=1\n", "nothing\n", "loss=2\nloss=3"):
        with run_dir.stdout.open("a") as file:
            file.write(line)
        follow(run_dir, MetricLog(run_dir))
    follow(run_dir, MetricLog(run_dir), to_the_end=True)
    follow(run_dir, MetricLog(run_dir), to_the_end=True)
    assert [("loss", 1.0, 0), ("loss", 2.0, 1), ("loss", 3.0, 2)] == logged(run_dir)


def run_with(directory: Path, patterns: dict[str, str]) -> RunDir:
    run_dir = RunDir(directory)
    run_dir.plan.write_text(json.dumps({"plan": {"spec": {"metrics": {"patterns": patterns}}, "build": {}}}))
    return run_dir


def follow(run_dir: RunDir, log: MetricLog, *, to_the_end: bool = False) -> None:
    for file in metric_files(run_dir, log):
        file.follow(to_the_end=to_the_end)


def logged(run_dir: RunDir) -> list[tuple[str, float, int]]:
    return [(entry["key"], entry["value"], entry["step"]) for entry in read_entries(run_dir.logged)]
