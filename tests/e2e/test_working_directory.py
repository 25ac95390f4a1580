"""Files that a program writes where it is: they are among the run's outputs afterwards, or are named."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project
from waiting import eventually

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

PROGRAM = """\
import os, pathlib, sys, time
open("model.txt", "w").write("weights")
pathlib.Path("results").mkdir(exist_ok=True)
pathlib.Path("results/r.json").write_text("{}")
print("told", open("told.txt").read().strip(), flush=True)
if sys.argv[1] == "plant":
    os.symlink("/tmp", os.environ["LAUNCH_OUTPUTS"] + "/workspace")
if sys.argv[1] == "sleep":
    time.sleep(600)
sys.exit(int(sys.argv[1]) if sys.argv[1].isdigit() else 0)
"""

WRITTEN = ["workspace/model.txt", "workspace/results/r.json"]


@pytest.fixture(scope="module")
def writing(session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    project = write_project(
        tmp_path_factory.mktemp("writing"), "writer", experiment=EXPERIMENT.replace("probe", "writer"), program=PROGRAM
    )
    (project / "experiments/writer/told.txt").write_text("code is found\n")
    return Launch(session_home, project)


def outputs(launch: Launch) -> list[str]:
    top = Path(launch("outputs", "@last").stdout.strip())
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file() or path.is_symlink())


@pytest.mark.parametrize("code", [0, 3])
def test_they_are_kept_and_named_however_the_program_ends(writing: Launch, code: int) -> None:
    done = writing("experiment=writer", f"params.how={code}", check=code)
    assert WRITTEN == outputs(writing)
    assert "in outputs/workspace: model.txt (7 B), results/ (1 file, 2 B)" in done.stderr


def test_they_are_kept_of_a_run_that_is_killed_with_its_supervisor(writing: Launch) -> None:
    run_id = writing("-d", "experiment=writer", "params.how=sleep").stdout.strip()
    eventually(lambda: "told" in writing("logs", run_id).stdout)
    lock = writing.home / "runs" / run_id / "supervisor.lock"
    os.kill(int(json.loads(lock.read_text())["pid"]), signal.SIGKILL)
    writing("kill", run_id)
    writing("wait", "@last", check=None)
    assert WRITTEN == outputs(writing)


def test_a_link_to_elsewhere_in_the_outputs_is_not_followed_and_the_loss_is_named(writing: Launch) -> None:
    before = sorted(Path("/tmp").glob("model.txt"))
    done = writing("experiment=writer", "params.how=plant")
    assert "note: lost with the working directory `/workspace`: `model.txt`, `results/r.json`" in done.stderr
    assert before == sorted(Path("/tmp").glob("model.txt"))


def test_a_working_directory_that_is_the_outputs_has_the_code_and_keeps_what_is_written(writing: Launch) -> None:
    done = writing("experiment=writer", "workdir=/outputs")
    assert ("told code is found\n", ["model.txt", "results/r.json"]) == (done.stdout, outputs(writing))
    writing("experiment=writer", "workdir=/outputs/run")
    assert ["run/model.txt", "run/results/r.json"] == outputs(writing)
