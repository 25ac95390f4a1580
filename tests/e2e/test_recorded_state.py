"""A state directory that an older version wrote is still listed, shown, resumed and rerun.

`recorded_state/REVISION.tar.xz` is what an ordinary user had after these commands of that version, and its MLflow server:

    launch experiment=tiny                                              c8037d, finished
    launch experiment=tiny params.how=fail                              ba6a39, failed
    launch -m experiment=tiny params.lr=0.1,0.2                         dd43f1, both trials finished
    launch -m experiment=tiny params.how=end,nap sweep.parallel=1      2e3e3c, whose second trial was stopped

The program is `recorded_state/train.c`, 1.3 KB in an image of 10 KB.
A change of a format keeps this archive, and adds another.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_command import Launch
from server_peer import stop_server

from runtime.state_dir import StateDir

ARCHIVE = Path(__file__).with_name("recorded_state") / "72b604c.tar.xz"
RECORDED_IN = "/srv/ada"
"""Where the archive's two directories were: in the texts, it becomes the directory of the test."""

FINISHED, FAILED, SWEEP, STOPPED_SWEEP, STOPPED_TRIAL = "c8037d", "ba6a39", "dd43f1", "2e3e3c", "8e300b"
IMAGE = "sha256:1c81768c6cf7bfeb7149410961194c7417a048e62d762420457efbd28ed155aa"

pytestmark = [
    pytest.mark.any_user,
    pytest.mark.requires("overlayfs", "userns"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the recorded program is one of x86-64"),
]


@pytest.fixture
def untouched(tmp_path: Path) -> Launch:
    """The state as it was recorded."""
    return _unpacked(tmp_path)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """The state for tests that go on with it, each with another run, and one MLflow server for all."""
    launch = _unpacked(tmp_path_factory.mktemp("recorded"))
    yield launch
    stop_server(StateDir(launch.home))


def _unpacked(directory: Path) -> Launch:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter=_as_the_caller)
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix != ".db" and "layers" not in path.parts:
            text = path.read_bytes()
            if RECORDED_IN.encode() in text:
                path.write_bytes(text.replace(RECORDED_IN.encode(), str(directory).encode()))
    return Launch(directory / "launch", directory / "project")


def _as_the_caller(member: tarfile.TarInfo, _directory: str) -> tarfile.TarInfo:
    """The archive is ours: modes stay as they were recorded, files belong to whoever runs the test."""
    return member.replace(uid=os.getuid(), gid=os.getgid(), uname="", gname="", deep=False)


def _ended(record: dict[str, Any]) -> tuple[str, str, int | None]:
    return record["status"], record["reason"], record["exit_code"]


def test_old_runs_sweeps_and_images_are_listed_and_shown(untouched: Launch) -> None:
    runs = {run["run_id"]: run for run in untouched.runs()}
    assert {
        FINISHED: ("FINISHED", "completed", 0),
        FAILED: ("FAILED", "program", 3),
        SWEEP: ("FINISHED", "completed", 0),
        "7be7d6": ("FINISHED", "completed", 0),
        "c35984": ("FINISHED", "completed", 0),
        STOPPED_SWEEP: ("KILLED", "stopped", 1),
        "3402d5": ("FINISHED", "completed", 0),
        STOPPED_TRIAL: ("KILLED", "stopped", 143),
    } == {run_id: _ended(run) for run_id, run in runs.items()}
    assert ["7be7d6", "c35984"] == [run_id for run_id, run in runs.items() if run["parent_run_id"] == SWEEP]
    assert {IMAGE} == {runs[run_id]["image_digest"] for run_id in (FINISHED, FAILED, "7be7d6", STOPPED_TRIAL)}

    shown = untouched.record(FINISHED)
    assert ({"loss": 0.25}, {"how": "end", "lr": 0.1}) == (shown["metrics"], shown["params"])
    assert "first attempt\n" == untouched("logs", FINISHED).stdout
    assert "42\n" == Path(untouched("outputs", FINISHED).stdout.strip(), "result.txt").read_text()
    assert "params.how end → fail" in untouched("diff", FINISHED, FAILED).stdout
    assert f"`{FINISHED}` is a run, `{SWEEP}` a sweep" in untouched("diff", SWEEP, FINISHED, check=2).stderr
    trials = untouched("sweep", "show", SWEEP).stdout
    assert ["7be7d6", "c35984"] == [line.split()[1] for line in trials.splitlines() if "complete" in line][1:]
    assert "tiny" in untouched("images").stdout
    untouched("store", "check")


def test_an_old_run_that_failed_is_resumed(launch: Launch) -> None:
    launch("resume", FAILED)
    assert ("FINISHED", "completed", 0) == _ended(launch.record(FAILED))
    assert "first attempt\nsecond attempt\n" == launch("logs", FAILED).stdout


def test_an_old_sweep_goes_on_with_the_trial_that_was_stopped(launch: Launch) -> None:
    done = launch("resume", STOPPED_SWEEP)
    assert "2 of 2 trials finished" in done.stderr
    assert ("FINISHED", "completed", 0) == _ended(launch.record(STOPPED_SWEEP))


def test_an_old_run_is_run_again_on_its_image(launch: Launch) -> None:
    done = launch("rerun", FINISHED)
    assert "identical" in done.stderr
    again = launch.record()
    assert IMAGE == again["image_digest"]
    assert ("FINISHED", "completed", 0) == _ended(again)


def test_an_unchanged_launch_builds_nothing_on_an_old_store(launch: Launch) -> None:
    done = launch("experiment=tiny")
    assert "built" not in done.stderr
    assert IMAGE == launch.record()["image_digest"]
