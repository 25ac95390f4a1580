"""A container to work in, on code that nobody may write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project

pytestmark = pytest.mark.requires("overlayfs", "userns", "root")


def test_code_that_the_containers_user_cannot_write_is_named_at_the_start(session_home: Path, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", "mine", experiment=EXPERIMENT.replace("probe", "mine"))
    launch, code = Launch(session_home, project), project / "experiments/mine"
    assert "nothing can be saved" not in launch("dev", "experiment=mine", "--", "true").stderr
    subprocess.run(["mount", "--bind", "-o", "ro", code, code], check=True)
    try:
        said = launch("dev", "experiment=mine", "--", "touch", "new", check=1).stderr
    finally:
        subprocess.run(["umount", code], check=True)
    why = "`experiments/mine` can't be written from inside: its file system is read-only"
    assert f"warning: nothing can be saved in /workspace: {why}" in said
    assert "touch: cannot touch 'new': Read-only file system" in said
