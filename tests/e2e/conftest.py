"""One LAUNCH_HOME a session (an image is built once), `launch` as a fixture, and what MLflow has of its runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox, make_box
from launch_command import Launch, write_project
from server_peer import Server, stop_server

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("launch-home")
    yield home
    stop_server(StateDir(home))
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def probe_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project"), "probe")


@pytest.fixture
def launch(session_home: Path, probe_project: Path) -> Launch:
    return Launch(session_home, probe_project)


@pytest.fixture(scope="session")
def mlflow_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in git whose programs log to MLflow."""
    project = tmp_path_factory.mktemp("mlflow") / "project"
    shutil.copytree(Path(__file__).with_name("mlflow_project"), project)
    if shutil.which("git"):
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        for words in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
            subprocess.run(["git", *words], cwd=project, check=True)
    return project


@pytest.fixture
def logging_launch(session_home: Path, mlflow_project: Path) -> Launch:
    return Launch(session_home, mlflow_project)


@pytest.fixture
def recorded(session_home: Path) -> Server:
    """The local MLflow server of the runs, up and answering."""
    state = StateDir(session_home)
    local_server.ui(state)
    return Server(state)


@pytest.fixture
def gpus_in_reach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., GpuBox]]:
    """A machine with GPUs (gpu_box.py) whose nodes a container's process 1, nobody outside, finds as it finds those of /dev."""
    made: list[GpuBox] = []
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)

        def make(**wishes: Any) -> GpuBox:
            made.append(make_box(Path(directory) / f"box{len(made)}", **wishes))
            made[-1].use(monkeypatch)
            return made[-1]

        yield make
        for box in made:
            box.remove()
