"""The local server takes what is new of a run in one request: the run is the one that MLflow's API would have made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from journal_lines import write_event
from older_server import Older
from server_peer import Server
from tracked_run import DIGEST, Tracked, new_run

from launcher.tracking.metrics.metric_files import metric_files
from launcher.tracking.metrics.metric_log import MetricLog
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import Description, describe
from launcher.tracking.mlflow.local_sink import LocalSink, open_sink
from launcher.tracking.mlflow.sink import Sink
from launcher.tracking.sync import is_synced
from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.any_user

REPORTED = (
    '{"step": 0, "loss": 1.5}\n{"step": 2, "loss": NaN, "up": Infinity, "down": -Infinity}\n{"step": 1, "loss": 0.25}\n'
    '{"step": 1, "loss": 0.25}\n{"a/b c": 3, "step": -4, "time": 1.5}\n'
)
PIN = {"digest": DIGEST, "files": 3, "size_bytes": 10, "kind": "content", "source": "/data/digits"}


def finished(state: StateDir, **spec: Any) -> RunDir:
    """A run that is over and of which MLflow has heard nothing."""
    run_dir = new_run(state, tags={"team": "vision", "long": "x" * 9000}, **spec)
    run_dir.metrics.write_text(REPORTED)
    run_dir.system_metrics.write_text('{"time": 1700000000.25, "cpu_utilization_percentage": 12.5}\n')
    (run_dir.outputs / "model.bin").write_bytes(b"weights")
    write_event(run_dir.journal, "queued", image_digest=DIGEST, facts={"kernel": "Linux 6", "machine_cpus": 2.0})
    write_event(run_dir.journal, "started", attempt=1)
    write_event(
        run_dir.journal, "finished", reason="completed", exit_code=0, signal=None, usage={"cpu_s": 0.25, "peak_memory_bytes": 1}
    )
    take_in(run_dir)
    return run_dir


def take_in(run_dir: RunDir) -> None:
    """What a tracker finds in the files of a run."""
    log = MetricLog(run_dir)
    for file in metric_files(run_dir, log):
        file.follow(to_the_end=True)
    log.add([{"param": "depth", "value": "3"}, {"tag": "own", "value": "1"}])


def described(run_dir: RunDir) -> Description:
    description = describe(run_dir)
    assert description is not None
    return description


def recorded(server: Server, run_id: str) -> dict[str, Any]:
    """Everything that MLflow has of a run, without what names it."""
    run = server.client.get("runs/get", run_id=run_id)["run"]
    keys = sorted(each["key"] for each in run["data"]["metrics"])
    points = {key: server.client.get("metrics/get-history", run_id=run_id, metric_key=key)["metrics"] for key in keys}
    text = json.dumps({**run, "points": points, "files": server.artifacts(run_id)}, sort_keys=True)
    known = json.loads(text.replace(run_id, "RUN"))
    for kind in ("metrics", "params", "tags"):
        known["data"][kind] = sorted(known["data"][kind], key=lambda each: each["key"])
    return dict(known)


def runs_marked(server: Server, run_dir: RunDir) -> list[str]:
    found = server.client.post("experiments/search", {"max_results": 100})["experiments"]
    wanted = {"experiment_ids": [each["experiment_id"] for each in found], "run_view_type": "ALL"}
    runs = server.client.post("runs/search", wanted | {"filter": f"tags.`launch.run_id` = '{run_dir.run_id}'"})
    return [run["info"]["run_id"] for run in runs.get("runs", [])]


def again(run_dir: RunDir) -> RunDir:
    """As if nobody had tried to send it."""
    for file in (run_dir.mlflow, run_dir.tracker_state):
        file.unlink()
    return run_dir


def push(sink: Sink) -> None:
    """All of it."""
    sink.push()
    sink.push_files()


@pytest.mark.parametrize("data", [{}, {"digits": PIN}], ids=["without data", "with data"])
def test_a_run_is_the_same_whichever_way_it_was_sent(server: Server, data: dict[str, Any]) -> None:
    run_dir = finished(server.state)
    document = json.loads(run_dir.plan.read_text())
    document["plan"]["data"] = data
    run_dir.plan.write_text(json.dumps(document))
    by_api = Sink(run_dir, described(run_dir))
    push(by_api)
    at_once = LocalSink(again(run_dir), described(run_dir))
    push(at_once)
    assert at_once.is_complete()
    assert by_api.run["run_id"] != at_once.run["run_id"]
    one, other = (recorded(server, sink.run["run_id"]) for sink in (by_api, at_once))
    assert one == other
    assert {"loss", "up", "down", "a/b c", "system/cpu_utilization_percentage"} == set(one["points"])
    assert "depth" in {each["key"] for each in one["data"]["params"]}
    assert len(data) == len(one.get("inputs", {}).get("dataset_inputs", []))


def test_a_short_run_is_one_request_when_it_has_ended(server: Server, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home").ensure()
    with Older(state, server.state, knows_whole_runs=True) as between:
        finished_before = Tracked(new_run(state, packages=("numpy",))).start()
        finished_before.finish()  # whose experiment is asked for by name
        between.asked.clear()
        tracked = Tracked(new_run(state, packages=("numpy",))).start()
        assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
        assert [f"PUT /launch/runs/{server.of(tracked.run_dir).info['run_id']}"] == between.asked
    assert tracked.run_id == server.of(tracked.run_dir).info["run_id"], "the program's id is the run's"


def test_a_server_of_an_older_launch_takes_it_by_its_api(server: Server, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home").ensure()
    with Older(state, server.state) as between:
        tracked = Tracked(new_run(state, packages=("numpy",))).start()
        tracked.run_dir.metrics.write_text(REPORTED)
        assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
        assert {"POST /api/2.0/mlflow/runs/create", "POST /api/2.0/mlflow/runs/update"} <= set(between.asked)
    assert "FINISHED" == server.of(tracked.run_dir).info["status"]
    assert [server.of(tracked.run_dir).info["run_id"]] == runs_marked(server, tracked.run_dir)


def test_a_lost_answer_makes_no_second_run(server: Server, tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home").ensure()
    with Older(state, server.state, knows_whole_runs=True, loses=2) as between:
        run_dir = finished(state)
        sink = open_sink(run_dir, described(run_dir))
        with pytest.raises(MlflowUnreachable):
            sink.push()
        kept = tmp_path / "tracker.json"
        shutil.copy(run_dir.tracker_state, kept)
        push(open_sink(run_dir, described(run_dir)))  # that of the tracker that follows one that was killed then
        once = recorded(server, server.of(run_dir).info["run_id"])
        shutil.copy(kept, run_dir.tracker_state)
        run_dir.mlflow.unlink()
        between.knows_whole_runs = False  # and one that meets an older server, asked for all of it again
        older = open_sink(run_dir, described(run_dir))
        push(older)
    assert [older.run["run_id"]] == runs_marked(server, run_dir)
    assert once == recorded(server, older.run["run_id"])


def test_what_the_server_refuses_to_take_at_once_goes_by_its_api(server: Server) -> None:
    """An experiment that somebody made, with artifacts elsewhere, and a param that was logged with another value."""
    server.client.post("experiments/create", {"name": "elsewhere", "artifact_location": "mlflow-artifacts:/somewhere"})
    tracking = {"uri": None, "experiment": "elsewhere", "run_name": None, "scope": "run", "artifacts": True}
    run_dir = finished(server.state, tracking=tracking)
    sink = open_sink(run_dir, described(run_dir))
    push(sink)
    assert f"mlflow-artifacts:/somewhere/{sink.run['run_id']}/artifacts" == server.of(run_dir).info["artifact_uri"]
    assert "launch/plan.json" in server.artifacts(sink.run["run_id"])
    MetricLog(run_dir).add([{"param": "depth", "value": "4"}, {"tag": "later", "value": "2"}])
    push(open_sink(run_dir, described(run_dir)))
    known = server.of(run_dir)
    assert ("3", "2") == (known.params["depth"], known.tags["later"])
    assert is_synced(run_dir)


def test_a_run_that_was_deleted_stays_deleted(server: Server) -> None:
    run_dir = finished(server.state)
    sink = open_sink(run_dir, described(run_dir))
    sink.push()
    server.client.post("runs/delete", {"run_id": sink.run["run_id"]})
    again(run_dir)
    run_dir.tracker_state.write_text(json.dumps({"provisional_id": sink.run["run_id"]}))
    late = open_sink(run_dir, described(run_dir))
    with pytest.raises(Exception, match="must be in the 'active' state"):
        late.push()
    assert [sink.run["run_id"]] == runs_marked(server, run_dir)
    assert "deleted" == server.of(run_dir).info["lifecycle_stage"]
