"""What a program may do through the gateway, and what becomes of it: real tracker, real server."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest
from journal_lines import write_event
from server_peer import Server
from tracked_run import Tracked, new_run

pytestmark = pytest.mark.any_user

PROGRAM = """
import mlflow, os, math
from mlflow.entities import Metric
mlflow.set_experiment("a name of the program's own")
with mlflow.start_run() as run:
    assert run.info.run_id == os.environ.get("EXPECTED"), run.info
    mlflow.log_param("lr", 0.5)                    # logged by the launcher as 0.1
    mlflow.log_params({"hidden": "64,32", "depth": 3})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metric("broken", math.nan)
    mlflow.set_tag("who", "program")
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"a": 1}, "a.json")
    assert mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/hello.txt") == "hello"
    names = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert names == ["a.json", "notes"], names
    with mlflow.start_run(run_name="inner", nested=True) as child:
        mlflow.log_metric("inner_loss", 0.25)
        mlflow.log_text("of the child", "child.txt")
    client = mlflow.MlflowClient()
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [1, 1/2, 1/3]
    model = mlflow.create_external_model(name="weights")
    mlflow.log_model_params({"k": "v"}, model_id=model.model_id)
    assert mlflow.get_logged_model(model.model_id).params == {"k": "v"}
    dataset = mlflow.data.meta_dataset.MetaDataset(mlflow.data.http_dataset_source.HTTPDatasetSource("http://example/x"))
    mlflow.log_input(dataset, context="training")
    print("child", child.info.run_id)
with mlflow.start_run() as second:                 # MLFLOW_RUN_ID is gone: MLflow opens another one
    print("second", second.info.run_id)
raise SystemExit(3)                                # and its atexit hook would say FINISHED
"""


@pytest.fixture
def run(server: Server) -> Iterator[Tracked]:
    tracked = Tracked(new_run(server.state)).start()
    yield tracked
    tracked.finish()


def test_an_unmodified_program_logs_to_its_run(server: Server) -> None:
    tracked = Tracked(new_run(server.state)).start()
    (tracked.run_dir.outputs / "model.bin").write_bytes(b"weights")
    environ = {**os.environ, **tracked.env, "EXPECTED": tracked.run_id}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], env=environ, capture_output=True, text=True, cwd="/", check=False
    )
    assert 3 == done.returncode, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("child", "second")))
    assert 0 == tracked.finish("program", 3), tracked.run_dir.supervisor_log.read_text()

    known = server.run(tracked.run_id)
    assert "FAILED" == known.info["status"]
    assert {"lr": "0.1", "hidden": "[64, 32]", "opt.name": "adam", "depth": "3"} == known.params
    assert "0.5" == known.tags["launch.logged.lr"]
    assert ("program", "3") == (known.tags["launch.reason"], known.tags["launch.exit_code"])
    assert "program" == known.tags["who"]
    assert [(0, 1), (1, 0.5), (2, 1 / 3)] == server.history(tracked.run_id, "loss")
    assert "NaN" == known.metrics["broken"]
    inputs = server.client.get("runs/get", run_id=tracked.run_id)["run"]["inputs"]
    assert "training" == inputs["dataset_inputs"][0]["tags"][0]["value"]
    files = server.artifacts(tracked.run_id)
    assert {"a.json", "notes/hello.txt", "model.bin", "launch/plan.json", "launch/spec.yaml", "launch/journal.jsonl"} <= set(
        files
    )
    assert "logs/stdout.txt" in files
    assert 7 == files["model.bin"]

    child = server.run(said["child"])
    assert tracked.run_id == child.tags["mlflow.parentRunId"]
    assert "FINISHED" == child.info["status"]
    assert {"child.txt"} == set(server.artifacts(said["child"]))
    second = server.run(said["second"])
    assert (known.info["experiment_id"], tracked.run_id) == (second.info["experiment_id"], second.tags["mlflow.parentRunId"])


def test_a_wrong_token_is_401(run: Tracked) -> None:
    status, answer = run.call("GET", f"/api/2.0/mlflow/runs/get?run_id={run.run_id}", token="guessed")
    assert (401, "UNAUTHENTICATED") == (status, answer["error_code"])


def test_another_run_is_403(run: Tracked, server: Server) -> None:
    other = server.client.create_run(run.ready["mlflow"]["experiment_id"], name="other", start_ms=1, tags={}, user="eve")
    calls = [
        run.get(f"runs/get?run_id={other.run_id}"),
        run.post("runs/log-metric", run_id=other.run_id, key="a", value=1, timestamp=1, step=0),
        run.post("runs/update", run_id=other.run_id, status="KILLED"),
        run.get(f"metrics/get-history?run_id={other.run_id}&metric_key=a"),
        run.get(f"artifacts/list?run_id={other.run_id}"),
        run.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/1/{other.run_id}/artifacts/x", raw=b"x"),
        run.call("GET", f"/api/2.0/mlflow-artifacts/artifacts?path=1/{other.run_id}/artifacts"),
        run.post("runs/create", tags=[{"key": "mlflow.parentRunId", "value": other.run_id}]),
    ]
    assert [403] * len(calls) == [status for status, _ in calls]
    assert "is not this run's" in calls[0][1]["message"]


def test_searching_shows_no_other_run(run: Tracked, server: Server) -> None:
    server.client.create_run(run.ready["mlflow"]["experiment_id"], name="other", start_ms=1, tags={}, user="eve")
    status, answer = run.post("runs/search", experiment_ids=["0", "1"], max_results=100)
    assert (200, [run.run_id]) == (status, [each["info"]["run_id"] for each in answer["runs"]])


def test_the_registry_is_closed_and_says_how_to_open_it(run: Tracked) -> None:
    status, answer = run.post("registered-models/create", name="m")
    assert 403 == status
    assert "tracking.scope=server" in answer["message"]


def test_scope_server_opens_the_registry(server: Server) -> None:
    tracked = Tracked(new_run(server.state, tracking={"uri": None, "scope": "server", "artifacts": True})).start()
    assert 200 == tracked.post("registered-models/create", name=f"m-{tracked.run_dir.run_id}")[0]
    assert 200 == tracked.post("experiments/search", max_results=5)[0]
    assert 0 == tracked.finish()


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_final_status_is_the_launchers_to_say(run: Tracked, server: Server, status: str) -> None:
    assert 200 == run.post("runs/update", run_id=run.run_id, status=status, end_time=5)[0]
    assert "RUNNING" == run.get(f"runs/get?run_id={run.run_id}")[1]["run"]["info"]["status"]
    assert server.run(run.run_id).info["status"] in ("SCHEDULED", "RUNNING")


def test_launchers_tags_stay(run: Tracked, server: Server) -> None:
    tags = [{"key": "launch.seed", "value": "8"}, {"key": "mlflow.user", "value": "eve"}, {"key": "own", "value": "1"}]
    assert 200 == run.post("runs/log-batch", run_id=run.run_id, tags=tags)[0]
    run.settle()
    known = server.run(run.run_id)
    assert ("7", "ada", "1") == (known.tags["launch.seed"], known.tags["mlflow.user"], known.tags["own"])


def test_a_param_of_the_program_cannot_change(run: Tracked) -> None:
    assert 200 == run.post("runs/log-parameter", run_id=run.run_id, key="depth", value="3")[0]
    assert 200 == run.post("runs/log-parameter", run_id=run.run_id, key="depth", value="3")[0]
    status, answer = run.post("runs/log-parameter", run_id=run.run_id, key="depth", value="4")
    assert (400, "INVALID_PARAMETER_VALUE") == (status, answer["error_code"])


@pytest.mark.parametrize("key", ["", "a[0]", "../x", "ä\n", "x" * 251])
def test_a_bad_metric_name_is_refused_at_once(run: Tracked, key: str) -> None:
    status, answer = run.post("runs/log-metric", run_id=run.run_id, key=key, value=1, timestamp=1, step=0)
    assert (400, "INVALID_PARAMETER_VALUE") == (status, answer["error_code"])


@pytest.mark.parametrize("path", ["..%2f..%2fmlflow.db", "a/../../x", "a//b", "a%00b", "launch/plan.json"])
def test_an_artifact_cannot_leave_its_place(run: Tracked, path: str) -> None:
    known = run.ready["mlflow"]
    place = f"/api/2.0/mlflow-artifacts/artifacts/{known['experiment_id']}/{run.run_id}/artifacts/"
    status, _ = run.call("PUT", place + path, raw=b"x")
    assert status in (400, 403)


def test_a_chunked_upload_of_unknown_length_is_whole(run: Tracked, server: Server) -> None:
    import http.client

    known = run.ready["mlflow"]
    connection = http.client.HTTPConnection("127.0.0.1", run.port)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{known['experiment_id']}/{run.run_id}/artifacts/big.bin"
    headers = {"Authorization": f"Bearer {run.ready['token']}"}
    connection.request("PUT", path, body=(b"x" * 100_000 for _ in range(20)), headers=headers, encode_chunked=True)
    assert 200 == connection.getresponse().status
    connection.close()
    deadline = time.monotonic() + 20
    while "big.bin" not in server.artifacts(run.run_id) and time.monotonic() < deadline:
        write_event(run.run_dir.journal, "note", text="wake")
        time.sleep(0.2)
    assert 2_000_000 == server.artifacts(run.run_id)["big.bin"]


def test_a_refused_upload_is_told_so_and_not_cut_off(run: Tracked) -> None:
    place = "/api/2.0/mlflow-artifacts/artifacts/1/0123/artifacts/big.bin"
    assert 403 == run.call("PUT", place, raw=bytes(20 << 20))[0]
    assert 401 == run.call("PUT", place, raw=bytes(20 << 20), token="guessed")[0]


def test_garbage_on_the_port_harms_nobody(run: Tracked) -> None:
    import socket

    for garbage in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"A" * 100_000):
        with socket.create_connection(("127.0.0.1", run.port)) as sock:
            sock.sendall(garbage)
    assert 200 == run.get(f"runs/get?run_id={run.run_id}")[0]


def test_children_left_open_end_with_their_parent(server: Server) -> None:
    tracked = Tracked(new_run(server.state)).start().take()
    child = tracked.post("runs/create", experiment_id="0", run_name="inner")[1]["run"]["info"]["run_id"]
    tracked.finish("timeout", 124)
    assert ("FAILED", "FAILED") == (server.run(child).info["status"], server.run(tracked.run_id).info["status"])
