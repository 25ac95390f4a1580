"""Libraries that log for their users, as they do it: some know nothing of MLFLOW_RUN_ID, and none of launch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from server_peer import Server
from tracked_run import Tracked, new_run

pytestmark = pytest.mark.any_user

# What lightning.pytorch.loggers.MLFlowLogger asks for (mlflow.py: `experiment`, `log_hyperparams`, `log_metrics`, `finalize`).
LIGHTNING = """
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.tracking.context import registry
client = MlflowClient()
experiment = client.get_experiment_by_name("lightning_logs")
experiment_id = client.create_experiment("lightning_logs") if experiment is None else experiment.experiment_id
def logger(**tags):
    return client.create_run(experiment_id=experiment_id, tags=registry.resolve_tags({"model": "net", **tags})).info.run_id
run_id = logger()
client.log_batch(run_id=run_id, params=[Param("layers", "3")])
for step in range(3):
    client.log_batch(run_id=run_id, metrics=[Metric(key="train_loss", value=1 / (step + 1), timestamp=step + 1, step=step)])
client.set_tag(run_id, "stage", "fit")
client.set_terminated(run_id, "FINISHED")
client.log_metric(run_id, "test_loss", 0.5)        # `trainer.test` after `trainer.fit`, with the same logger
second = logger(**{"mlflow.runName": "second"})
client.log_metric(second, "other", 1)
client.set_terminated(second, "FAILED")
print(run_id, second)
"""

SKLEARN = """
import mlflow
import numpy
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
mlflow.autolog(silent=True, log_models=False)
search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
search.fit(numpy.array([[0.0], [0.1], [0.9], [1.0]] * 4), numpy.array([0, 0, 1, 1] * 4))
"""

# As transformers' MLflowCallback does it: the active run, or a new one; ended at the end.
CALLBACK = """
import mlflow
if mlflow.active_run() is None:
    mlflow.start_run(run_name="trainer_output")
mlflow.log_params({"learning_rate": 0.1})
mlflow.log_metrics({"eval_loss": 0.25}, step=7)
mlflow.end_run()
"""


TRACED = """
import mlflow
@mlflow.trace
def outer(x):
    with mlflow.start_span("inner"):
        return x + 1
with mlflow.start_run():
    outer(1)
mlflow.flush_trace_async_logging()
trace_id = mlflow.get_last_active_trace_id()
assert ["outer", "inner"] == [span.name for span in mlflow.get_trace(trace_id).data.spans]
mlflow.log_feedback(trace_id=trace_id, name="good", value=True)
mlflow.set_trace_tag(trace_id, "k", "v")
(found,) = mlflow.search_traces(return_type="list")
assert (trace_id, "v", [True]) == (found.info.trace_id, found.info.tags["k"], [each.value for each in found.info.assessments])
print(trace_id)
"""


def ran(server: Server, program: str) -> tuple[Tracked, str]:
    """The run of *program*, and what that printed."""
    tracked = Tracked(new_run(server.state)).start()
    argv = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(argv, env={**os.environ, **tracked.env}, capture_output=True, text=True, cwd="/", check=False)
    assert 0 == done.returncode, done.stderr
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    return tracked, done.stdout


def test_the_first_run_that_a_logger_asks_for_is_the_run_and_a_second_one_is_below_it(server: Server) -> None:
    tracked, said = ran(server, LIGHTNING)
    first, second = said.split()
    known, child = server.run(tracked.run_id), server.run(second)
    assert tracked.run_id == first
    assert {"train_loss": 1 / 3, "test_loss": 0.5} == {name: value for name, value in known.metrics.items() if "/" not in name}
    assert [(0, 1.0), (1, 0.5), (2, 1 / 3)] == server.history(tracked.run_id, "train_loss")
    assert ("3", "net", "fit", "ada") == (
        known.params["layers"],
        known.tags["model"],
        known.tags["stage"],
        known.tags["mlflow.user"],
    )
    assert ("FINISHED", "0") == (known.info["status"], known.tags["launch.exit_code"])
    assert (tracked.run_id, "FAILED", "second") == (
        child.tags["mlflow.parentRunId"],
        child.info["status"],
        child.info["run_name"],
    )
    assert "test_loss" in tracked.run_dir.last_metrics.read_text(), "what `launch runs` and sweeps look at"


def test_a_logger_that_asks_for_a_run_beside_start_run_gets_a_child(server: Server) -> None:
    beside = LIGHTNING.replace("client = MlflowClient()", "import mlflow\nmlflow.start_run()\nclient = MlflowClient()")
    tracked, said = ran(server, beside)
    assert [tracked.run_id] * 2 == [server.run(each).tags["mlflow.parentRunId"] for each in said.split()]


def test_its_tracker_may_be_killed_in_between(server: Server) -> None:
    tracked = Tracked(new_run(server.state)).start()
    assert tracked.run_id == tracked.post("runs/create")[1]["run"]["info"]["run_id"]
    tracked.kill_tracker()
    again = Tracked(tracked.run_dir)
    assert tracked.run_id != again.post("runs/create")[1]["run"]["info"]["run_id"]
    again.finish()


def test_autologging_logs_to_the_run(server: Server) -> None:
    tracked, _ = ran(server, SKLEARN)
    known = server.run(tracked.run_id)
    assert known.metrics["best_cv_score"] > 0.5
    assert "GridSearchCV" == known.tags["estimator_name"]
    children = [
        run
        for run in map(server.run, server.runs_of(known.info["experiment_id"]))
        if run.tags.get("mlflow.parentRunId") == tracked.run_id
    ]
    assert {"0.1", "1.0"} == {run.params["C"] for run in children}


def test_a_callback_logs_to_the_run(server: Server) -> None:
    tracked, _ = ran(server, CALLBACK)
    known = server.run(tracked.run_id)
    assert (0.25, "0.1", "FINISHED") == (known.metrics["eval_loss"], known.params["learning_rate"], known.info["status"])


def test_logged_models_count_against_the_limit_of_uploads(server: Server) -> None:
    tracked = Tracked(new_run(server.state, outputs={"keep": ["**"], "max_size": 100})).start()
    experiment = tracked.ready["mlflow"]["experiment_id"]
    model = tracked.post("logged-models", name="weights")[1]["model"]["info"]["model_id"]
    own, models = f"{experiment}/{tracked.run_id}/artifacts", f"{experiment}/models/{model}/artifacts"

    def put(path: str, size: int) -> int:
        return tracked.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", raw=b"x" * size)[0]

    assert [200, 200, 413] == [put(f"{models}/weights", 60), put(f"{models}/weights", 70), put(f"{models}/more", 40)]
    assert [413, 200, 413] == [put(f"{own}/log", 31), put(f"{own}/log", 30), put(f"{models}/weights", 71)]
    (tracked.run_dir.outputs / "one").write_text("1")
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    assert 30 == server.artifacts(tracked.run_id)["log"]
    assert "one" not in server.artifacts(tracked.run_id)
    assert "outputs are 1 bytes and 100 were logged" in tracked.run_dir.supervisor_log.read_text()


def test_what_mlflow_traces_is_the_run_s(server: Server) -> None:
    tracked, said = ran(server, TRACED)
    info = trace_of(server, said.strip())
    assert tracked.run_id == info["trace_metadata"]["mlflow.sourceRun"]


def trace_of(server: Server, trace_id: str) -> dict[str, Any]:
    reply = server.client.send("GET", f"/api/3.0/mlflow/traces/{trace_id}", headers={})
    return dict(json.loads(reply.content())["trace"]["trace_info"])


def trace(number: int, **more: Any) -> dict[str, Any]:
    info = {"trace_id": f"tr-{number:032x}", "request_time": "2026-01-01T00:00:00Z", "state": "OK", **more}
    return {"trace": {"trace_info": info}}


def test_a_trace_of_another_run_is_not_to_be_had(server: Server) -> None:
    other, run = Tracked(new_run(server.state)).start(), Tracked(new_run(server.state)).start()
    v2, v3 = "/api/2.0/mlflow/traces", "/api/3.0/mlflow/traces"
    experiment = run.ready["mlflow"]["experiment_id"]
    theirs, forged = trace(1), f"{v3}/tr-{1:032x}"
    assert 200 == other.call("POST", v3, theirs)[0]
    assert 200 == run.call("POST", v3, trace(2, tags={"mlflow.artifactLocation": "file:///etc"}))[0]
    for method, path, body in (
        ("GET", forged, None),
        ("POST", v3, theirs),
        ("POST", v3, trace(3, trace_metadata={"mlflow.sourceRun": other.run_id})),
        ("PATCH", f"{v2}/tr-{1:032x}/tags", {"key": "a", "value": "b"}),
        ("PATCH", f"{v2}/tr-{2:032x}/tags", {"key": "mlflow.artifactLocation", "value": "/etc"}),
        ("POST", f"{forged}/assessments", {"assessment": {"name": "x", "feedback": {"value": True}}}),
        ("GET", f"{v3}/tr-{2:032x}/../tr-{1:032x}", None),
        ("POST", f"{v3}/delete-traces", {"experiment_id": experiment, "request_ids": [f"tr-{1:032x}"]}),
        ("POST", "/v1/traces", {}),
    ):
        assert 403 == run.call(method, path, body)[0], (method, path)
    for body in (trace(4, traceLocation={}), {"trace": []}, {"trace": {"trace_info": {"trace_id": "../x"}}}, {}):
        assert 400 == run.call("POST", v3, body)[0]
    place = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/traces"
    assert 403 == run.call("PUT", f"{place}/tr-{1:032x}/artifacts/traces.json", raw=b"{}")[0]
    assert 200 == run.call("PUT", f"{place}/tr-{2:032x}/artifacts/traces.json", raw=b"{}")[0]
    for wish in ("", f"metadata.`mlflow.sourceRun` = '{other.run_id}'"):
        answer = run.call("POST", f"{v3}/search", {"locations": [], "filter": wish})[1]
        assert ([] if wish else [f"tr-{2:032x}"]) == [info["trace_id"] for info in answer["traces"]]
    tags = trace_of(server, f"tr-{2:032x}")["tags"]
    assert tags["mlflow.artifactLocation"].startswith("mlflow-artifacts:")
    assert [0, 0] == [run.finish(), other.finish()]
