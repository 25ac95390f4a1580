"""A sweep is one image and many runs; a rerun is the same run again, compared."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project
from waiting import eventually

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]


def test_every_combination_runs_under_one_parent_and_a_failure_stops_nobody(launch: Launch) -> None:
    done = launch("-m", "experiment=probe", "params.lr=0.1,0.2,0.3", "params.how='0','4'", "cpus=0.25", check=1)
    runs = launch.runs()
    parent = next(run for run in reversed(runs) if run["parent_run_id"] is None)
    trials = [run for run in runs if run["parent_run_id"] == parent["run_id"]]
    assert 6 == len(trials)
    expected = {(lr, code) for lr in (0.1, 0.2, 0.3) for code in (0, 4)}
    assert expected == {(run["params"]["lr"], run["exit_code"]) for run in trials}
    assert 1 == len({run["image_digest"] for run in trials})
    assert "3 of 6 trials finished" in done.stderr


def test_ctrl_c_finishes_the_running_trials_and_starts_no_more(launch: Launch) -> None:
    choices = ["params.how=graceful", "params.lr=0.1,0.2,0.3,0.4"]
    process = launch.start("-m", "experiment=probe", *choices, "sweep.parallel=1", "grace=1s")

    def has_begun() -> bool:
        assert process.poll() is None
        running = [run for run in launch.runs() if run["status"] == "RUNNING" and run["experiment"] == "probe"]
        return any(run["parent_run_id"] for run in running)

    eventually(has_begun, within_s=120)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert any("finishing 1 running" in line for line in iter(process.stderr.readline, ""))  # what was built comes before
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert "0 of 4 trials finished, 4 not done" in err


def test_a_rerun_has_the_same_plan_and_image_and_says_so(launch: Launch) -> None:
    launch("experiment=probe")
    before = launch.record()
    done = launch("rerun", before["run_id"])
    after = launch.record()
    assert after["run_id"] != before["run_id"]
    for field in ("image_digest", "spec_digest", "code_digest"):
        assert after[field] == before[field]
    assert "identical" in done.stderr


def test_a_rerun_may_override_a_parameter(launch: Launch) -> None:
    launch("experiment=probe")
    before = launch.record()
    done = launch("rerun", "@last", "params.lr=0.5")
    after = launch.record()
    assert after["params"]["lr"] == 0.5
    assert after["image_digest"] == before["image_digest"]
    assert after["spec_digest"] != before["spec_digest"]
    assert "params.lr 0.1 → 0.5" in done.stderr


def test_a_rerun_does_not_change_the_image(launch: Launch) -> None:
    launch("experiment=probe")
    done = launch("rerun", "@last", "image.run=['true']", check=2)
    assert "image.run" in done.stderr


def test_a_run_that_mlflow_heard_nothing_of_is_run_again_when_its_code_and_image_are_gone(
    session_home: Path, tmp_path: Path
) -> None:
    experiment = EXPERIMENT.replace("probe", "forgotten")
    launch = Launch(session_home, write_project(tmp_path / "project", "forgotten", experiment=experiment))
    first = launch("experiment=forgotten").stdout
    run_id = launch.record()["run_id"]
    (launch.project / "experiments/forgotten/forgotten.py").write_text("print('something else')\n")
    launch("images", "rm", "forgotten")
    again = launch("rerun", run_id)
    assert first.replace(run_id, launch.record()["run_id"]) == again.stdout
