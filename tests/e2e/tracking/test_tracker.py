"""The way from a run's directory to MLflow, also when the server, the tracker or the supervisor is not there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from journal_lines import write_event
from server_peer import Server, stop_server
from tracked_run import DIGEST, Tracked, new_run
from waiting import eventually

from launcher.tracking.mlflow import local_server
from launcher.tracking.record.run_record import fold
from launcher.tracking.sync import is_synced, sync_run
from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.any_user

LINES = (
    '{"step": 0, "loss": 1.0, "phase": "warm-up"}\n{"step": 1, "loss": NaN}\nnot json\n{"step": 2, "loss": 0.25, "acc": 0.5}\n'
)
HISTORY = [(0, 1), (1, "NaN"), (2, 0.25)]


def write_metrics(run_dir: RunDir, lines: str) -> None:
    with run_dir.metrics.open("a") as file:
        file.write(lines)


@pytest.fixture
def unserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A LAUNCH_HOME whose MLflow server cannot start."""
    monkeypatch.setattr(local_server, "_spawn", lambda state: None)
    return StateDir(tmp_path / "home").ensure()


def test_the_metrics_file_of_a_program_without_mlflow_is_logged(server: Server) -> None:
    tracked = Tracked(new_run(server.state, packages=("numpy",))).start()
    write_metrics(tracked.run_dir, LINES)
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    known = server.of(tracked.run_dir)
    assert HISTORY == server.history(known.info["run_id"], "loss")
    assert {"loss": 0.25, "acc": 0.5} == json.loads(tracked.run_dir.last_metrics.read_text())
    assert "not json" in tracked.run_dir.supervisor_log.read_text()


def test_the_ui_has_what_it_shows(server: Server) -> None:
    run_dir = new_run(server.state)
    tracked = Tracked(run_dir).start()
    write_event(run_dir.journal, "note", facts={"driver": "570.1"})
    tracked.finish()
    known = server.of(run_dir)
    assert f"digits {run_dir.run_id}" == known.info["run_name"]
    wanted = {
        "mlflow.user": "ada",
        "mlflow.source.name": "launch experiment=digits params.lr=0.1",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "c" * 40,
        "mlflow.source.git.dirty": "true",
        "mlflow.docker.image.id": DIGEST,
        "mlflow.project.entryPoint": "digits",
        "launch.run_id": run_dir.run_id,
        "launch.seed": "7",
        "launch.driver": "570.1",
        "launch.reason": "completed",
        "launch.peak_memory_bytes": "4096",
        "team": "vision",
    }
    assert wanted == {key: known.tags.get(key) for key in wanted}
    assert f"launch rerun {run_dir.run_id}" in known.tags["mlflow.note.content"]
    record = fold(run_dir)
    assert record is not None
    assert known.info["run_id"] == record.mlflow_run_id
    assert record.mlflow_url is not None
    assert record.mlflow_url.startswith("http://127.0.0.1:")


def test_a_run_is_scheduled_until_its_program_starts(server: Server) -> None:
    tracked = Tracked(new_run(server.state))
    eventually(lambda: server.of(tracked.run_dir).info["status"] == "SCHEDULED")
    tracked.start()
    eventually(lambda: server.of(tracked.run_dir).info["status"] == "RUNNING")
    tracked.finish("stopped", 143)
    info = server.of(tracked.run_dir).info
    assert ("KILLED", True) == (info["status"], info["end_time"] >= info["start_time"])


def test_system_metrics_stand_under_their_own_tab(server: Server) -> None:
    tracked = Tracked(new_run(server.state)).start()
    samples = [{"time": 1000.0 + number, "cpu_utilization_percentage": 50.0 + number} for number in range(3)]
    tracked.run_dir.system_metrics.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    tracked.finish()
    known = server.of(tracked.run_dir)
    assert [(0, 50), (1, 51), (2, 52)] == server.history(known.info["run_id"], "system/cpu_utilization_percentage")
    assert {} == json.loads(tracked.run_dir.last_metrics.read_text() if tracked.run_dir.last_metrics.exists() else "{}")


def test_only_kept_outputs_are_sent_and_no_link_is_followed(server: Server, tmp_path: Path) -> None:
    tracked = Tracked(new_run(server.state, outputs={"keep": ["*.bin", "plots/**"], "max_size": None})).start()
    outputs = tracked.run_dir.outputs
    (tmp_path / "secret").write_text("host")
    (outputs / "plots" / "deep").mkdir(parents=True)
    (outputs / "plots" / "deep" / "a.png").write_bytes(b"png")
    (outputs / "w.bin").write_bytes(b"w")
    (outputs / "skipped.txt").write_text("x")
    (outputs / "link.bin").symlink_to(tmp_path / "secret")
    tracked.finish()
    sent = {
        path for path in server.artifacts(server.of(tracked.run_dir).info["run_id"]) if not path.startswith(("launch/", "logs/"))
    }
    assert {"plots/deep/a.png", "w.bin"} == sent


def test_outputs_beyond_max_size_stay_here(server: Server) -> None:
    tracked = Tracked(new_run(server.state, outputs={"keep": ["**"], "max_size": 10})).start()
    (tracked.run_dir.outputs / "big.bin").write_bytes(bytes(11))
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    assert "big.bin" not in server.artifacts(server.of(tracked.run_dir).info["run_id"])
    assert "outputs.max_size" in tracked.run_dir.supervisor_log.read_text()


def test_tracking_null_keeps_the_metrics_and_asks_nobody(unserved: StateDir) -> None:
    tracked = Tracked(new_run(unserved, tracking=None)).start()
    write_metrics(tracked.run_dir, LINES)
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    assert {"mlflow": None} == tracked.ready
    assert {"loss": 0.25, "acc": 0.5} == json.loads(tracked.run_dir.last_metrics.read_text())
    assert not tracked.run_dir.mlflow.exists()
    assert is_synced(tracked.run_dir)


@pytest.mark.requires("patience")
def test_a_server_that_is_down_all_the_time_gets_everything_later_and_once(
    unserved: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = Tracked(new_run(unserved, packages=("numpy",))).start()
    assert tracked.ready["mlflow"]["provisional"] is True
    run = tracked.get(f"runs/get?run_id={tracked.run_id}")[1]["run"]
    assert ("RUNNING", tracked.run_id) == (run["info"]["status"], run["info"]["run_id"])
    assert 200 == tracked.post("runs/log-metric", run_id=tracked.run_id, key="gain", value="Infinity", timestamp=5, step=1)[0]
    assert 200 == tracked.post("runs/log-parameter", run_id=tracked.run_id, key="depth", value="3")[0]
    assert 200 == tracked.post("runs/update", run_id=tracked.run_id, status="FINISHED")[0]
    place = f"/api/2.0/mlflow-artifacts/artifacts/0/{tracked.run_id}/artifacts"
    assert 200 == tracked.call("PUT", f"{place}/notes/a.txt", raw=b"hello")[0]
    assert b"hello" == tracked.call("GET", f"{place}/notes/a.txt")[1]
    assert tracked.run_id == tracked.post("runs/create", experiment_id="0")[1]["run"]["info"]["run_id"]
    assert 503 == tracked.post("runs/create", experiment_id="0")[0]
    write_metrics(tracked.run_dir, LINES)
    assert 1 == tracked.finish()
    assert not is_synced(tracked.run_dir)
    assert {"loss": 0.25, "acc": 0.5, "gain": float("inf")} == json.loads(tracked.run_dir.last_metrics.read_text())

    monkeypatch.undo()
    assert sync_run(tracked.run_dir)
    later = Server(unserved)
    try:
        assert is_synced(tracked.run_dir)
        assert sync_run(tracked.run_dir)
        known = later.of(tracked.run_dir)
        assert "FINISHED" == known.info["status"]
        assert HISTORY == later.history(known.info["run_id"], "loss")
        assert 1 == len(later.history(known.info["run_id"], "gain"))
        assert "3" == known.params["depth"]
        assert 5 == later.artifacts(known.info["run_id"])["notes/a.txt"]
        assert [known.info["run_id"]] == later.runs_of(known.info["experiment_id"])
    finally:
        stop_server(unserved)


def test_a_killed_tracker_loses_nothing_and_repeats_nothing(server: Server) -> None:
    tracked = Tracked(new_run(server.state, name=f"killed-{time.time_ns()}")).start()
    write_metrics(tracked.run_dir, LINES)
    tracked.post("runs/log-metric", run_id=tracked.run_id, key="gain", value=1, timestamp=5, step=1)
    eventually(lambda: "gain" in server.of(tracked.run_dir).metrics)
    write_metrics(tracked.run_dir, '{"loss": 0.125}\n')
    tracked.kill_tracker()
    write_event(tracked.run_dir.journal, "finished", reason="completed", exit_code=0)
    # As if it had been killed between MLflow's answer and the note about it.
    state = json.loads(tracked.run_dir.tracker_state.read_text())
    tracked.run_dir.tracker_state.write_text(json.dumps({**state, "logged": 0, "params_sent": False}))
    assert sync_run(tracked.run_dir)
    known = server.of(tracked.run_dir)
    assert "FINISHED" == known.info["status"]
    assert [*HISTORY, (3, 0.125)] == server.history(known.info["run_id"], "loss")
    assert [(1, 1)] == server.history(known.info["run_id"], "gain")


def test_a_run_whose_creation_was_not_heard_is_not_created_twice(server: Server) -> None:
    tracked = Tracked(new_run(server.state, name=f"unheard-{time.time_ns()}")).start()
    tracked.kill_tracker()
    tracked.run_dir.mlflow.unlink()
    tracked.run_dir.tracker_state.write_text(json.dumps({"creating": True}))
    write_event(tracked.run_dir.journal, "finished", reason="lost")
    assert sync_run(tracked.run_dir)
    known = server.of(tracked.run_dir)
    assert ("KILLED", tracked.run_id) == (known.info["status"], known.info["run_id"])
    assert [tracked.run_id] == server.runs_of(known.info["experiment_id"])


def test_a_program_goes_on_when_another_supervisor_takes_over(server: Server) -> None:
    first = Tracked(new_run(server.state)).start()
    first.post("runs/log-metric", run_id=first.run_id, key="loss", value=1, timestamp=1, step=0)
    first.leave()
    second = Tracked.__new__(Tracked)
    second.port = first.port
    Tracked.__init__(second, first.run_dir)
    assert first.ready["token"] == second.ready["token"]
    assert first.run_id == second.run_id
    assert 200 == second.post("runs/log-metric", run_id=first.run_id, key="loss", value=0.5, timestamp=2, step=1)[0]
    second.finish()
    assert [(0, 1), (1, 0.5)] == server.history(first.run_id, "loss")


def test_a_provisional_id_becomes_the_real_run(tmp_path: Path) -> None:
    """The program starts while the server is still loading; what it says about its run arrives."""
    state = StateDir(tmp_path / "home").ensure()
    tracked = Tracked(new_run(state, packages=("numpy",))).start()
    assert tracked.ready["mlflow"]["provisional"] is True
    try:
        assert 200 == tracked.post("runs/log-metric", run_id=tracked.run_id, key="loss", value=1, timestamp=1, step=0)[0]
        eventually(tracked.run_dir.mlflow.exists, within_s=60)
        real = json.loads(tracked.run_dir.mlflow.read_text())["run_id"]
        child = tracked.post("runs/create", tags=[{"key": "mlflow.parentRunId", "value": tracked.run_id}])[1]["run"]
        assert {"mlflow.parentRunId": real}.items() <= {tag["key"]: tag["value"] for tag in child["data"]["tags"]}.items()
        assert 0 == tracked.finish()
        assert [(0, 1)] == Server(state).history(real, "loss")
    finally:
        stop_server(state)


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(server: Server) -> None:
    first = Tracked(new_run(server.state)).start()
    write_metrics(first.run_dir, '{"loss": 1}\n')
    first.finish("preempted", 143)
    assert "KILLED" == server.of(first.run_dir).info["status"]
    write_event(first.run_dir.journal, "queued")
    second = Tracked(first.run_dir).start()
    eventually(lambda: server.of(first.run_dir).info["status"] == "RUNNING")
    write_metrics(first.run_dir, '{"loss": 0.5}\n')
    second.finish()
    assert first.run_id == second.run_id
    assert "FINISHED" == server.of(first.run_dir).info["status"]
    assert [(0, 1), (1, 0.5)] == server.history(first.run_id, "loss")


def test_a_name_that_mlflow_refuses_does_not_hold_up_the_others(server: Server) -> None:
    tracked = Tracked(new_run(server.state, params={"a[0]": 1, "long": "x" * 7000})).start()
    write_metrics(tracked.run_dir, json.dumps({"step": 0, "loss/é[1]": 1, "ok": 2}) + "\n")
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    known = server.of(tracked.run_dir)
    assert {"ok", "loss/é.1"} == set(known.metrics) | {"loss/é.1"}
    assert ("1", 6000, "…") == (known.params["a.0"], len(known.params["long"]), known.params["long"][-1])


def test_children_stand_below_their_parent(server: Server) -> None:
    parent = Tracked(new_run(server.state)).start()
    child_dir = new_run(server.state)
    events = [json.loads(line) for line in child_dir.journal.read_text().splitlines()]
    child_dir.journal.write_text(json.dumps({**events[0], "parent_run_id": parent.run_dir.run_id}) + "\n")
    Tracked(child_dir).start().finish()
    parent.finish()
    assert parent.run_id == server.of(child_dir).tags["mlflow.parentRunId"]
