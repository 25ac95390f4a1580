"""`launch plan --dockerfile DIR`: a directory that other builders take, and nothing written over anybody's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_command import EXPERIMENT, PROGRAM, Launch

from launcher.plan.dockerfile.parse import parse

pytestmark = pytest.mark.any_user


@pytest.fixture
def launch(session_home: Path, tmp_path: Path) -> Launch:
    """A project of its own, with the session's base."""
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/written.yaml").write_text(EXPERIMENT)
    (tmp_path / "experiments/probe").mkdir(parents=True)
    (tmp_path / "experiments/probe/probe.py").write_text(PROGRAM)
    return Launch(session_home, tmp_path)


@pytest.mark.requires("overlayfs", "userns")
def test_the_directory_is_all_that_the_dockerfile_names(launch: Launch, tmp_path: Path) -> None:
    out = tmp_path / "made/here"
    done = launch("plan", "experiment=written", 'image.run=["echo hello > /etc/hello"]', "params.how=7", "--dockerfile", str(out))
    assert f"{out}/Dockerfile" in done.stdout
    assert f"podman build -t written {out}" in done.stderr
    dockerfile = parse((out / "Dockerfile").read_text(), path="Dockerfile")
    assert () == dockerfile.warnings
    (stage,) = dockerfile.stages
    copied = [one for one in stage.instructions if one.keyword in ("ADD", "COPY")]
    assert len(copied) >= 3
    assert all((out / source).exists() for one in copied for source in one.words[:-1])
    runs = [one.text for one in stage.instructions if one.keyword == "RUN"]
    assert "dpkg --configure -a" in runs[0]
    assert "echo hello > /etc/hello" in runs[-1]
    assert ("python3", "probe.py", "7") == next(one.words for one in stage.instructions if one.keyword == "CMD")


def test_a_directory_with_files_in_it_is_refused_before_anything_is_built(tmp_path: Path, probe_project: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    launch = Launch(tmp_path / "home", probe_project)
    done = launch("plan", "experiment=probe", "--dockerfile", str(tmp_path / "full"), check=2)
    assert done.stderr.startswith(f"error: `{tmp_path}/full` is not empty")
    assert not (tmp_path / "home/store").exists()


def test_it_is_one_output_or_the_other(tmp_path: Path, probe_project: Path) -> None:
    launch = Launch(tmp_path / "home", probe_project)
    assert "--dockerfile" in launch("plan", "experiment=probe", "--json", "--dockerfile", str(tmp_path / "x"), check=2).stderr
