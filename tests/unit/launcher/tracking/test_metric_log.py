"""Metrics as they were seen: from the program's file, written down once each."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from typing import Any

import pytest

from launcher.errors import LaunchError
from launcher.tracking.metrics.metric_files import metric_files
from launcher.tracking.metrics.metric_log import MetricLog, RunSoFar, metric, read_entries, read_slice
from runtime.state_dir import RunDir


def logged(run_dir: RunDir) -> list[tuple[str, Any, int]]:
    return [(entry["key"], entry["value"], entry["step"]) for entry in read_entries(run_dir.logged)]


def followed(run_dir: RunDir, *, to_the_end: bool = False) -> MetricLog:
    log = MetricLog(run_dir)
    follow(run_dir, log, to_the_end=to_the_end)
    return log


def follow(run_dir: RunDir, log: MetricLog, *, to_the_end: bool = False) -> None:
    for file in metric_files(run_dir, log):
        file.follow(to_the_end=to_the_end)


def test_numbers_are_metrics_and_everything_else_is_not(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"step": 3, "loss": 0.5, "phase": "warm", "done": true, "n": 2, "list": [1], "none": null}\n')
    followed(run_dir)
    assert [("loss", 0.5, 3), ("n", 2, 3)] == logged(run_dir)


def test_nan_and_infinity_are_kept_as_strict_json(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"a": NaN, "b": Infinity, "c": -Infinity}\n')
    log = followed(run_dir)
    assert ["NaN", "Infinity", "-Infinity"] == [value for _, value, _ in logged(run_dir)]
    assert math.isnan(log.so_far.last["a"])
    json.loads(run_dir.logged.read_text().splitlines()[0], parse_constant=lambda name: pytest.fail(f"bare {name}"))


def test_a_metric_of_which_a_killed_tracker_wrote_half_is_read_again(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"step": 1, "loss": 1}\n{"step": 2, "loss": 2}\n')
    followed(run_dir)
    run_dir.logged.write_bytes(run_dir.logged.read_bytes()[:-9])
    followed(run_dir)
    assert [("loss", 1, 1), ("loss", 2, 2)] == logged(run_dir)


def test_a_report_without_a_step_is_the_next_one_of_its_metric(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n{"loss": 2, "acc": 1}\n')
    followed(run_dir)
    with run_dir.metrics.open("a") as file:
        file.write('{"loss": 3}\n')
    followed(run_dir)
    assert [("loss", 1, 0), ("loss", 2, 1), ("acc", 1, 0), ("loss", 3, 2)] == logged(run_dir)


def test_a_line_is_complete_at_its_newline(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n{"loss": 2')
    log = followed(run_dir)
    assert [("loss", 1, 0)] == logged(run_dir)
    with run_dir.metrics.open("a") as file:
        file.write("5}")
    follow(run_dir, log)
    assert 1 == len(logged(run_dir))
    follow(run_dir, log, to_the_end=True)
    assert [("loss", 1, 0), ("loss", 25, 1)] == logged(run_dir)


def test_bad_lines_are_one_warning_and_never_an_error(run_dir: RunDir) -> None:
    lines = [b"not json", b"[1]", b'"x"', b"\xff\xfe", b'{"loss": 1, "step": NaN, "time": "x"}', b"", b"nope"]
    run_dir.metrics.write_bytes(b"\n".join(lines) + b"\n")
    log = followed(run_dir)
    assert [("loss", 1, 0)] == logged(run_dir)
    assert 1 == len(log.notes)
    assert "not json" in log.notes[0]


def test_an_endless_line_does_not_stop_the_reader(run_dir: RunDir) -> None:
    run_dir.metrics.write_bytes(b"x" * (5 << 20) + b"\n" + b'{"loss": 1}\n')
    followed(run_dir)
    assert [("loss", 1, 0)] == logged(run_dir)


def test_another_tracker_goes_on_where_the_first_stopped(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n')
    followed(run_dir)
    before = run_dir.logged.read_bytes()
    followed(run_dir)
    assert before == run_dir.logged.read_bytes()


def test_a_file_that_the_program_truncates_is_read_again(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n{"loss": 2}\n')
    log = followed(run_dir)
    run_dir.metrics.write_text('{"loss": 9}\n')
    follow(run_dir, log)
    assert ("loss", 9, 2) == logged(run_dir)[-1]


def test_a_tracker_after_a_truncation_goes_on_where_the_one_before_stopped(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n{"loss": 2}\n')
    log = followed(run_dir)
    run_dir.metrics.write_text('{"loss": 9}\n')
    follow(run_dir, log)
    followed(run_dir)
    assert [1, 2, 9] == [value for _, value, _ in logged(run_dir)]


def test_the_time_is_the_programs_or_when_it_was_seen(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1, "time": 12.5}\n{"loss": 2}\n')
    followed(run_dir)
    first, second = read_entries(run_dir.logged)
    assert 12_500 == first["time"]
    assert second["time"] > 1_600_000_000_000


def test_last_metrics_hold_both_sources(run_dir: RunDir) -> None:
    run_dir.metrics.write_text('{"loss": 1}\n{"loss": 0.5}\n')
    log = followed(run_dir)
    log.add([metric("acc", 0.9, step=1, time_ms=1), {"param": "depth", "value": "3"}])
    log.write_last_metrics()
    assert {"loss": 0.5, "acc": 0.9} == json.loads(run_dir.last_metrics.read_text())
    assert {"depth": "3"} == MetricLog(run_dir).so_far.params


def test_slices_end_at_whole_lines_and_cover_everything(run_dir: RunDir) -> None:
    log = MetricLog(run_dir)
    log.add([metric(f"m{number}", number, step=0, time_ms=1) for number in range(10_000)])
    with run_dir.logged.open("a") as file:
        file.write('{"key": "torn')
    seen, offset = 0, 0
    while True:
        entries, end = read_slice(run_dir.logged, offset)
        if end == offset:
            break
        seen, offset = seen + len(entries), end
    assert 10_000 == seen


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"loss": 1' + "0" * 400 + "}", id="a number that no float holds"),
        pytest.param("[" * 100_000, id="nested beyond reason"),
        pytest.param('{"loss": 1' + "0" * 5000 + "}", id="more digits than Python reads"),
        pytest.param('{"a": 1}\r{"b": 2}', id="a carriage return"),
        pytest.param("\0", id="a NUL"),
    ],
)
def test_a_line_that_cannot_be_read_is_noted_and_the_next_one_counts(run_dir: RunDir, line: str) -> None:
    run_dir.metrics.write_text(f'{line}\n{{"step": 5, "ok": 1}}\n', newline="\n")
    log = followed(run_dir)
    assert [("ok", 1, 5)] == logged(run_dir)
    assert len(log.notes) == 1


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_too_large_for_a_float_drops_itself_and_not_its_line(run_dir: RunDir, digits: int) -> None:
    run_dir.metrics.write_text(f'{{"step": 7, "loss": 0.5, "norm": 1{"0" * digits}, "acc": 1}}\n')
    log = followed(run_dir)
    assert [("loss", 0.5, 7), ("acc", 1, 7)] == logged(run_dir)
    assert "`norm` is too large a number; the others of the line are taken" in log.notes[0]


def test_steps_and_times_that_no_database_holds_are_left_out(run_dir: RunDir) -> None:
    run_dir.metrics.write_text(
        '{"step": 1e300, "a": 1}\n{"step": NaN, "a": 2}\n{"step": 1' + "0" * 30 + ', "a": 3}\n'
        '{"time": 1e300, "a": 4}\n{"time": -1, "a": 5}\n{"time": Infinity, "a": 6}\n'
    )
    followed(run_dir)
    assert [("a", number + 1, number) for number in range(6)] == logged(run_dir)
    assert all(0 < entry["time"] < 2**53 for entry in read_entries(run_dir.logged))


def test_half_a_line_on_a_full_disk_spoils_no_later_one(run_dir: RunDir) -> None:
    """The disk is full in the middle of a point, and has room again for the next."""
    log = MetricLog(run_dir)
    log.add([metric("a", 1.0, step=0, time_ms=1)])
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (run_dir.logged.stat().st_size + 20, largest[1]))
    try:
        with pytest.raises(LaunchError, match="cannot write to"):
            log.add([metric("b", 2.0, step=0, time_ms=2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        signal.signal(signal.SIGXFSZ, handled)
    log.add([metric("c", 3.0, step=0, time_ms=3)])
    assert [("a", 1.0, 0), ("c", 3.0, 0)] == logged(run_dir)
    assert [("a", 1.0, 0), ("c", 3.0, 0)] == [(key, value, 0) for key, value in MetricLog(run_dir).so_far.last.items()]


@pytest.mark.parametrize("value", [0.1, 1e300, 5e-324, -0.0, 3.0, math.nan, -math.inf])
@pytest.mark.parametrize("key", ["loss", 'a "b"', "ä/\u2028"])
def test_a_point_is_written_as_json_has_it(run_dir: RunDir, key: str, value: float) -> None:
    point = metric(key, value, step=2**53, time_ms=-1)
    MetricLog(run_dir).add([point])
    assert json.dumps(point, separators=(",", ":")) + "\n" == run_dir.logged.read_text()


def test_what_finds_no_room_is_found_again(run_dir: RunDir) -> None:
    log = MetricLog(run_dir)
    (file,) = metric_files(run_dir, log)
    run_dir.metrics.write_text('{"loss": 1}\n')
    own, log._file = log._file, os.open("/dev/full", os.O_RDWR)
    with pytest.raises(LaunchError, match="No space left"):
        file.follow()
    os.close(log._file)
    log._file = own
    file.follow()
    assert [("loss", 1, 0)] == logged(run_dir)


def test_a_name_that_the_program_gave_its_run_is_newer_than_what_the_server_said_before() -> None:
    run = RunSoFar()
    run.remember({"post": "runs/update", "body": {"run_name": "renamed"}}, 200)
    server_had = {"mlflow.runName": "digits", "team": "vision"}
    assert {"mlflow.runName": "renamed", "team": "vision"} == run.tags_over(server_had, 100)
    assert server_had == run.tags_over(server_had, 200), "somebody gave it another one since"
