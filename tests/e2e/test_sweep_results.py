"""What a sweep found, as its user sees it: while it runs, afterwards, and in MLflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from launch_command import Launch
from server_peer import Server
from terminal_session import TerminalSession

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

EXPERIMENT = """\
# @package _global_
description: a bowl whose lowest point is at x = 3
code: {root: program}
command: python3 bowl.py
params: {x: 0.0, size: 1, nap_s: 0.0}
cpus: 0.5
memory: 256MiB
sweep:
  metric: loss
  direction: minimize
"""

PROGRAM = """\
import json, os, time
params = json.load(open(os.environ["LAUNCH_PARAMS"]))
time.sleep(params["nap_s"])
loss = (params["x"] - 3) ** 2 + 0.1 / params["size"]
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"step": 0, "loss": loss, "latency_ms": 10.0 * params["size"]}) + "\\n")
"""


@pytest.fixture(scope="module")
def bowl(session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    project = tmp_path_factory.mktemp("bowl")
    for name, text in {"conf/experiment/bowl.yaml": EXPERIMENT, "program/bowl.py": PROGRAM}.items():
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(text)
    return Launch(session_home, project)


@pytest.fixture(scope="module")
def swept(bowl: Launch) -> str:
    """A tracked sweep of four trials, the last the best; its id."""
    done = bowl("-m", "experiment=bowl", "params.x=1.0,2.5", "params.size=1,2")
    line = next(line for line in done.stderr.splitlines() if line.startswith("sweep "))
    assert line.endswith("4 of 4 trials finished")
    return line.removeprefix("sweep ").partition(":")[0]


def test_show_lists_trials_from_the_best_and_says_what_mattered(bowl: Launch, swept: str) -> None:
    lines = bowl("sweep", "show", swept, "-n", "2").stdout.splitlines()
    assert lines[0] == f"sweep {swept} of bowl: finished, 4 complete"
    assert lines[1].split() == ["TRIAL", "RUN", "x", "size", "loss", "ENDED"]
    assert [line.split()[0] for line in lines[2:4]] == ["4", "3"]
    assert lines[4] == "… and 2 trials more; `-n` shows them"
    assert lines[5].startswith("best   trial 4, run ")
    assert lines[5].endswith("loss 0.3 with params.x=2.5 params.size=2")
    assert lines[6] == "what mattered: not known from 4 trials; 10 are needed"


def test_a_trial_stands_for_its_sweep_and_json_has_every_trial(bowl: Launch, swept: str) -> None:
    whole = json.loads(bowl("sweep", "show", swept, "--json").stdout)
    of_trial = json.loads(bowl("sweep", "show", whole["trials"][0]["run"], "--json").stdout)
    assert of_trial == whole
    assert [4.1, 4.05, 0.35, 0.3] == [pytest.approx(trial["values"][0]) for trial in whole["trials"]]
    assert [{"trial": 4, "overrides": ["params.x=2.5", "params.size=2"], "values": [pytest.approx(0.3)]}] == whole["best"]


def test_the_best_trial_is_exported_as_an_experiment_that_runs_as_it_did(bowl: Launch, swept: str) -> None:
    file = bowl.project / "conf/experiment/best.yaml"
    file.unlink(missing_ok=True)
    bowl("sweep", "best", swept, "--export", "conf/experiment/best.yaml")
    assert yaml.safe_load(file.read_text())["params"] == {"x": 2.5, "size": 2}
    refused = bowl("sweep", "best", swept, "--export", "conf/experiment/best.yaml", check=2)
    assert "exists already" in refused.stderr
    bowl("experiment=best", "tracking=none")
    record = bowl.record()
    assert record["metrics"]["loss"] == pytest.approx(0.3)
    best = bowl.record(json.loads(bowl("sweep", "show", swept, "--json").stdout)["trials"][3]["run"])
    assert record["image_digest"] == best["image_digest"]


def test_the_best_trial_runs_again_and_is_compared(bowl: Launch, swept: str) -> None:
    done = bowl("sweep", "best", swept, "--rerun")
    assert "best   trial 4" in done.stdout
    assert bowl.record()["params"] == {"x": 2.5, "size": 2, "nap_s": 0.0}
    assert "identical" in done.stderr


def test_mlflow_has_the_pictures_and_the_best_trial_at_the_parent(bowl: Launch, swept: str, recorded: Server) -> None:
    parent = bowl.record(swept)["mlflow_run_id"]
    pictures = {f"sweep_{name}.png" for name in ("history", "parallel", "slices")}
    assert pictures <= set(recorded.artifacts(parent))
    known = recorded.run(parent)
    assert known.tags["launch.best_trial"] == "4"
    assert known.tags["launch.best_overrides"] == "params.x=2.5 params.size=2"
    child = recorded.run(known.tags["launch.best_mlflow_run_id"])
    assert child.tags["mlflow.parentRunId"] == parent
    assert child.params["x"] == "2.5"


def test_pictures_are_written_where_one_wants_them(bowl: Launch, swept: str, tmp_path: Path) -> None:
    done = bowl("sweep", "show", swept, "--pictures", str(tmp_path / "here"))
    written = sorted((tmp_path / "here").iterdir())
    assert [str(path) for path in written] == sorted(line for line in done.stdout.splitlines() if line.endswith(".png"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    shutil.rmtree(tmp_path / "here")


def test_of_several_metrics_those_are_best_that_no_other_beats_in_all(bowl: Launch) -> None:
    objectives = ["sweep.metric=[loss,latency_ms]", "sweep.direction=[minimize,minimize]", "tracking=none"]
    done = bowl("-m", "experiment=bowl", "params.x=3.0", "params.size=1,2,4", "params.nap_s=0", *objectives)
    assert 3 == sum(line.strip().startswith("best   trial") for line in done.stderr.splitlines())
    choose = bowl("sweep", "best", "@last", "--rerun", check=2)
    assert "3 trials are best" in choose.stderr
    assert "`--trial N`" in choose.stderr
    one = bowl("sweep", "best", "@last", "--trial", "2").stdout
    assert "trial 2" in one
    assert "trial 1" not in one


def test_a_trial_that_breaks_a_constraint_is_best_only_of_its_like(bowl: Launch) -> None:
    bounds = ["sweep.constraints=['latency_ms <= 20']", "tracking=none"]
    bowl("-m", "experiment=bowl", "params.x=3.0", "params.size=1,2,4", *bounds)
    assert "trial 2, " in bowl("sweep", "best", "@last").stdout
    bowl("-m", "experiment=bowl", "params.x=3.0", "params.size=4,8", *bounds)
    assert "which breaks a constraint" in bowl("sweep", "best", "@last").stdout


def test_a_terminal_shows_the_trials_that_run_and_the_best_so_far(bowl: Launch) -> None:
    trials = ["params.x=0.0,2.0,1.0", "params.nap_s=0.7", "sweep.parallel=1", "tracking=none"]
    with TerminalSession(bowl, "-m", "experiment=bowl", *trials) as session:
        session.wait_for("1 of 3 trials ended, 1 running")
        session.wait_for("best   trial 1, run ")
        session.wait_for("2 of 3 trials ended")
        session.wait_for("best   trial 2, run ")
        session.wait_for("running")
        session.wait_for("3 of 3 trials finished")
        assert session.end() == 0


def test_what_is_no_sweep_is_refused_with_the_way_to_find_one(bowl: Launch) -> None:
    bowl("experiment=bowl", "tracking=none")
    refused = bowl("sweep", "show", bowl.record()["run_id"], check=2)
    assert "belongs to no sweep" in refused.stderr
    assert "launch runs --where" in refused.stderr
