"""Closed streams, a deleted directory, a state directory that can't be: said in a line, or survived; never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_launch_with_closed_streams_runs_and_is_recorded(launch: Launch, closed: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *launch.argv("experiment=probe")]
    done = subprocess.run(shell, cwd=launch.project, env=launch.env(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    record = launch.record()
    assert record["status"] == "FINISHED"
    assert (Path(record["run_dir"]) / "stdout.log").read_text() == f"hello from {record['run_id']}\n"


def test_a_full_disk_behind_stderr_does_not_hide_the_output(launch: Launch) -> None:
    with open("/dev/full", "w") as full:
        process = launch.start("runs", stderr=full)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "EXPERIMENT" in out


@pytest.mark.parametrize("words", [("--help",), ("runs",), ("-q", "experiment=probe")], ids=["a help", "a list", "a run"])
def test_a_full_device_behind_stdout_is_no_full_disk_of_ours(launch: Launch, words: tuple[str, ...]) -> None:
    launch("build", "experiment=probe", "-q")
    with open("/dev/full", "w") as full:
        process = launch.start(*words, stdout=full)
        _, err = process.communicate(timeout=60)
    assert 125 == process.returncode
    assert "error: cannot write to stdout: no space left on device\n" in err
    assert "launch gc" not in err
    assert "Traceback" not in err
    assert ("the run goes on" in err) == ("experiment=probe" in words)


def test_a_deleted_current_directory_is_named(launch: Launch, tmp_path: Path) -> None:
    shutil.copytree(launch.project, tmp_path / "gone")
    # The shell stays in a directory that it removes.
    shell = ["sh", "-c", 'rm -r "$PWD" && exec "$@"', "sh", *launch.argv("experiment=probe")]
    done = subprocess.run(shell, cwd=tmp_path / "gone", env=launch.env(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "current directory does not exist any more" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("experiment=probe",), ("runs",), ("ps",), ("images",), ("runs", "show", "@last")])
def test_a_state_directory_that_is_a_file_is_refused_in_words(launch: Launch, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("not a directory")
    launch.environ["LAUNCH_HOME"] = os.fspath(tmp_path / "file")
    done = launch(*arguments, check=None)
    assert "Traceback" not in done.stderr
    if arguments[0] in ("experiment=probe", "images"):
        assert done.returncode == 125
        assert str(tmp_path / "file") in done.stderr
