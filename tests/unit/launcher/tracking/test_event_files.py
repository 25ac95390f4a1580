"""Event files where programs leave them: found, followed, named, and each scalar taken once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_event_format import SIMPLE_VALUES, TENSORS, recorded

from launcher.tracking.metrics.event_files import EventFiles, metric_name
from launcher.tracking.metrics.metric_log import MetricLog, read_entries
from runtime.state_dir import RunDir

NAME = "events.out.tfevents.1.host.1.0"


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "overlay/u/workspace").mkdir(parents=True)
    return RunDir(tmp_path)


def followed(run_dir: RunDir) -> MetricLog:
    log = MetricLog(run_dir)
    EventFiles(run_dir, log, workdir="/workspace").follow(to_the_end=True)
    return log


def logged(run_dir: RunDir) -> list[tuple[str, int]]:
    return [(entry["key"], entry["step"]) for entry in read_entries(run_dir.logged)]


def written(directory: Path, packed: str, *, mtime: int = 1) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_bytes(recorded(packed))
    os.utime(directory / NAME, (mtime, mtime))
    return directory / NAME


def test_scalars_keep_name_step_and_time(run_dir: RunDir) -> None:
    written(run_dir.outputs / "runs/a", SIMPLE_VALUES)
    followed(run_dir)
    assert [("Loss/train", 0), ("Loss/train", 1), ("Loss/train", 2), ("bad", 7)] == logged(run_dir)
    assert [1_700_000_000_500, "NaN"] == [
        next(read_entries(run_dir.logged))["time"],
        list(read_entries(run_dir.logged))[-1]["value"],
    ]


def test_the_working_directory_is_looked_at_too(run_dir: RunDir) -> None:
    written(run_dir.overlay / "u/workspace/runs/now", TENSORS)
    followed(run_dir)
    assert [("acc", 3), ("acc", 1000)] == logged(run_dir)


def test_what_was_moved_out_of_the_working_directory_is_not_read_twice(run_dir: RunDir) -> None:
    written(run_dir.overlay / "u/workspace/runs/now", TENSORS)
    followed(run_dir)
    (run_dir.outputs / "workspace").mkdir()
    (run_dir.overlay / "u/workspace/runs").rename(run_dir.outputs / "workspace/runs")
    followed(run_dir)
    assert [("acc", 3), ("acc", 1000)] == logged(run_dir)


def test_another_tracker_goes_on_where_the_first_stopped(run_dir: RunDir) -> None:
    whole = recorded(SIMPLE_VALUES)
    file = written(run_dir.outputs, SIMPLE_VALUES)
    for cut in (150, 200, len(whole), len(whole)):
        file.write_bytes(whole[:cut])
        followed(run_dir)
    assert [("Loss/train", 0), ("Loss/train", 1), ("Loss/train", 2), ("bad", 7)] == logged(run_dir)


def test_what_is_appended_is_followed(run_dir: RunDir) -> None:
    whole, log = recorded(TENSORS), MetricLog(run_dir)
    files = EventFiles(run_dir, log, workdir="/workspace")
    file = written(run_dir.outputs, TENSORS)
    file.write_bytes(whole[:-30])
    files.follow()
    assert [("acc", 3)] == logged(run_dir)
    with file.open("ab") as end:
        end.write(whole[-30:])
    files.follow()
    assert [("acc", 3), ("acc", 1000)] == logged(run_dir)


def test_the_directory_that_wrote_first_names_the_others(run_dir: RunDir) -> None:
    """As Keras does it: the same tags in `train` and `validation`."""
    written(run_dir.outputs / "logs/validation", TENSORS, mtime=2)
    written(run_dir.outputs / "logs/train", TENSORS, mtime=1)
    followed(run_dir)
    assert {"acc", "validation/acc"} == {key for key, _ in logged(run_dir)}


@pytest.mark.parametrize(
    ("directory", "home", "expected"),
    [
        pytest.param("outputs/a", "outputs/a", "loss", id="the same"),
        pytest.param("outputs/a/Loss_train", "outputs/a", "Loss_train/loss", id="below"),
        pytest.param("outputs/b", "outputs/a", "b/loss", id="beside"),
        pytest.param("outputs", "outputs/a", "loss", id="above"),
        pytest.param("work/runs/x", "outputs/a", "work/runs/x/loss", id="elsewhere"),
    ],
)
def test_names(directory: str, home: str, expected: str) -> None:
    assert expected == metric_name("loss", directory, home)


def test_no_link_is_followed_and_no_pipe_waited_for(run_dir: RunDir, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    written(outside, TENSORS)
    (run_dir.outputs / "link").symlink_to(outside)
    (run_dir.outputs / f"x{NAME}").symlink_to(outside / NAME)
    (run_dir.overlay / "u/workspace").rmdir()
    (run_dir.overlay / "u/workspace").symlink_to(outside)
    os.mkfifo(run_dir.outputs / NAME)
    assert [] == followed(run_dir).notes
    assert [] == logged(run_dir)


def test_a_broken_file_is_one_note_and_keeps_no_other_from_being_read(run_dir: RunDir) -> None:
    (run_dir.outputs / f"a.{NAME}").write_bytes(b"no event file at all, however it is called")
    written(run_dir.outputs, TENSORS)
    assert 1 == len(followed(run_dir).notes)
    assert [("acc", 3), ("acc", 1000)] == logged(run_dir)
    json.loads(run_dir.logged.read_text().splitlines()[0])
