"""What a program is told of its own run: the gateway's words, which are the server's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_peer import Server
from tracked_run import Tracked, new_run
from waiting import eventually

from launcher.tracking.lack import warnings
from runtime.state_dir import StateDir

pytestmark = pytest.mark.any_user


@pytest.fixture
def run(server: Server) -> Iterator[Tracked]:
    tracked = Tracked(new_run(server.state)).start()
    yield tracked
    tracked.finish()


def asked(run: Tracked) -> dict[str, Any]:
    status, answer = run.get(f"runs/get?run_id={run.run_id}&run_uuid={run.run_id}")
    assert 200 == status
    return dict(answer["run"])


def tags_of(known: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in known["data"]["tags"]}


def in_any_order(known: dict[str, Any]) -> dict[str, Any]:
    """What a program may have had its hand in, as values that compare."""
    data = known["data"]
    return {
        "metrics": sorted((each["key"], float(each["value"]), int(each["step"]), each["timestamp"]) for each in data["metrics"]),
        "params": sorted((each["key"], each["value"]) for each in data["params"]),
        "tags": tags_of(known),
        "datasets": [each["dataset"]["name"] for each in known["inputs"].get("dataset_inputs", [])],
        "models": [(each["model_id"], int(each.get("step", 0))) for each in known["outputs"].get("model_outputs", [])],
        "name": known["info"]["run_name"],
    }


def test_the_gateway_says_of_the_run_what_the_server_says(run: Tracked, server: Server) -> None:
    """The latest point is that of the highest step; what was logged twice is there once; what was deleted is gone."""
    eventually(lambda: "launch.attempt" in server.run(run.run_id).tags, "the server has not got the run's first tags")
    for step, value in ((1, 0.5), (3, 0.1), (2, 0.3)):
        run.post("runs/log-metric", run_id=run.run_id, key="loss", value=value, timestamp=1000 + step, step=step)
    run.post("runs/log-parameter", run_id=run.run_id, key="depth", value="3")
    run.post("runs/log-batch", run_id=run.run_id, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    run.post("runs/delete-tag", run_id=run.run_id, key="b")
    run.post("runs/update", run_id=run.run_id, run_name="renamed")
    dataset = {"name": "ours", "digest": "1", "source_type": "local", "source": "{}"}
    for _ in range(2):
        run.post("runs/log-inputs", run_id=run.run_id, datasets=[{"dataset": dataset, "tags": []}])
    model = run.post("logged-models", experiment_id="0", name="weights", source_run_id=run.run_id)[1]["model"]["info"]["model_id"]
    for step in (3, 4):  # a second time is an error of the server's database, which refuses all that came with it
        run.post("runs/outputs", run_id=run.run_id, models=[{"model_id": model, "step": step}])
        run.post("runs/log-inputs", run_id=run.run_id, models=[{"model_id": model}])
    told = asked(run)
    run.settle()
    known = server.client.get("runs/get", run_id=run.run_id)["run"]
    known["data"]["metrics"] = [each for each in known["data"]["metrics"] if not each["key"].startswith("system/")]
    assert in_any_order(known) == in_any_order(told)


def test_a_tag_that_somebody_sets_in_the_ui_reaches_the_program(run: Tracked, server: Server) -> None:
    run.post("runs/set-tag", run_id=run.run_id, key="stop", value="no")
    run.settle()
    server.client.post("runs/set-tag", {"run_id": run.run_id, "key": "stop", "value": "yes"})
    deadline = time.monotonic() + 20
    while "yes" != tags_of(asked(run))["stop"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.post("runs/set-tag", run_id=run.run_id, key="stop", value="done")
    assert "done" == tags_of(asked(run))["stop"]


def test_a_program_asks_for_its_run_where_no_server_answers(tmp_path: Path) -> None:
    """MLflow 3's client asks before each `log_metrics`: each question would cost the program what the server costs."""
    nowhere = {"uri": "http://127.0.0.1:9", "scope": "run", "artifacts": True}
    run = Tracked(new_run(StateDir(tmp_path / "home"), packages=("numpy",), tracking=nowhere)).start()
    begun = time.monotonic()
    for step in range(50):
        run.post("runs/log-metric", run_id=run.run_id, key="loss", value=1 / (step + 1), timestamp=1, step=step)
        (point,) = asked(run)["data"]["metrics"]
        assert ("loss", step) == (point["key"], point["step"])
    assert time.monotonic() - begun < 10
    assert 403 == run.get("runs/get?run_id=" + "0" * 32)[0]
    run.leave()


def test_what_was_logged_twice_is_no_sql_at_the_end_of_the_run(server: Server) -> None:
    tracked = Tracked(new_run(server.state)).start()
    model = tracked.post("logged-models", experiment_id="0", name="weights")[1]["model"]["info"]["model_id"]
    for _ in range(2):
        assert 200 == tracked.post("runs/outputs", run_id=tracked.run_id, models=[{"model_id": model, "step": 0}])[0]
        tracked.settle()
    assert 0 == tracked.finish()
    assert [] == warnings(tracked.run_dir)


def test_what_was_ignored_is_said_at_the_end_of_the_run(server: Server) -> None:
    """Tags of ours and another experiment are taken without an error, since clients send them unasked; silence would be a lie."""
    tracked = Tracked(new_run(server.state)).start().take()
    tracked.post("runs/set-tag", run_id=tracked.run_id, key="launch.plan_digest", value="sha256:forged")
    tracked.post("runs/set-tag", run_id=tracked.run_id, key="mlflow.user", value="ada")  # as it is
    for name in ("theirs", "theirs", "digits"):
        tracked.get(f"experiments/get-by-name?experiment_name={name}")
    child = tracked.post("runs/create", tags=[{"key": "launch.run_id", "value": "1"}])[1]["run"]["info"]["run_id"]
    for key in ("launch.run_id", "mlflow.user", "mlflow.source.name", "mlflow.parentRunId"):
        assert 403 == tracked.post("runs/delete-tag", run_id=tracked.run_id, key=key)[0]
    assert 403 == tracked.post("runs/delete-tag", run_id=child, key="launch.run_id")[0]
    assert 0 == tracked.finish()
    assert [
        "tag `launch.plan_digest` of the program was ignored: it is the launcher's",
        "the program asked for the MLflow experiment `theirs`, and its run stays in `digits`: `tracking.experiment` names that",
        "tags below `launch.` that the program set were ignored: they are the launcher's",
    ] == warnings(tracked.run_dir)
    assert "ada" == server.run(tracked.run_id).tags["mlflow.user"]
