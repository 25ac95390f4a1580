"""`launch init` makes a project that launches as it is; `launch list` shows it beside what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = pytest.mark.any_user


def test_a_new_project_lists_its_experiment(session_home: Path, tmp_path: Path) -> None:
    Launch(session_home, tmp_path)("init", "mine")
    project = Launch(session_home, tmp_path / "mine")
    names = {found["name"] for found in json.loads(project("list", "--json").stdout)}
    assert {"digits", "resnet"} < names
    assert len(names) > 2


def test_init_never_overwrites(session_home: Path, tmp_path: Path) -> None:
    outside = Launch(session_home, tmp_path)
    outside("init", "mine")
    (tmp_path / "mine/README.md").write_text("my own words\n")
    outside("init", "mine", check=None)
    assert (tmp_path / "mine/README.md").read_text() == "my own words\n"


@pytest.mark.requires("overlayfs", "userns")
def test_a_new_project_runs(session_home: Path, tmp_path: Path) -> None:
    Launch(session_home, tmp_path)("init", "mine")
    project = Launch(session_home, tmp_path / "mine")
    own = next(found["name"] for found in json.loads(project("list", "--json").stdout) if str(tmp_path) in found["file"])
    project(f"experiment={own}", "tracking=none")
    assert project.record()["status"] == "FINISHED"
