"""One LAUNCH_HOME a session (an image is built once), and `launch` as a fixture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, PROGRAM, Launch


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("launch-home")
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def probe_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("project")
    (project / "conf/experiment").mkdir(parents=True)
    (project / "experiments/probe").mkdir(parents=True)
    (project / "conf/experiment/probe.yaml").write_text(EXPERIMENT)
    (project / "experiments/probe/probe.py").write_text(PROGRAM)
    return project


@pytest.fixture
def launch(session_home: Path, probe_project: Path) -> Launch:
    return Launch(session_home, probe_project)
