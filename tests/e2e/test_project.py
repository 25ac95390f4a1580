"""`launch init` makes a project that launches as it is; `launch list` shows it beside what is shipped."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from launch_command import Launch, write_project

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


IGNORED = "`weights.bin` (2.0 KB)"


@pytest.mark.requires("overlayfs", "userns")
def test_what_git_ignores_is_named_before_the_first_build_and_in_every_plan(session_home: Path, tmp_path: Path) -> None:
    """A prepared data set is ignored as a rule: who launches learns that from launch, not from a FileNotFoundError."""
    write_project(tmp_path / "repository", "forgetful")
    launch = Launch(session_home, tmp_path / "repository")
    code = tmp_path / "repository/experiments/forgetful"
    (code / ".gitignore").write_text("*.bin\n")
    (code / "weights.bin").write_bytes(b"x" * 2000)
    run = ("experiment=forgetful", "code.root=experiments/forgetful", "command=[python3,forgetful.py,'0']")
    assert IGNORED not in launch("plan", *run).stdout
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "repository", check=True)
    assert IGNORED in launch("plan", *run).stdout
    assert f"not in the image, since git ignores it: {IGNORED}" in launch(*run).stderr
    assert "git ignores" not in launch(*run).stderr
    taken = launch("plan", *run, "code.include=['**',weights.bin]")
    assert (IGNORED not in taken.stdout, "2 files of" in taken.stdout) == (True, False)
