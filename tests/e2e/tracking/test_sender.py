"""What runs could not tell MLflow themselves, the sender does, without anybody's help and in nobody's way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from journal_lines import write_event
from server_peer import Server
from tracked_run import Tracked, new_run
from unwell_proxy import Between
from waiting import eventually

from launcher.cli import main
from launcher.run.sending import close_run, start_sender
from launcher.tracking.mlflow.description import Description, write_description
from launcher.tracking.sender import Sender
from launcher.tracking.sync import is_synced, lock_path
from runtime.file_lock import is_locked
from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.any_user


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StateDir]:
    """A state directory whose sender ends with it."""
    state = StateDir(tmp_path / "home").ensure()
    yield state
    gone = state.root.rename(tmp_path / "gone")  # in one step: a sender writes meanwhile
    shutil.rmtree(gone)
    eventually(lambda: not sender(state))


def sender(state: StateDir) -> list[int]:
    """The senders of the state directory: at most one that has the lock."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-3:] == [b"send", os.fsencode(state.root), b""]:
            found.append(int(process.name))
    return found


def ended_run(state: StateDir, uri: str, **tracking: object) -> RunDir:
    """One that MLflow has heard nothing of, with a metric and an output."""
    whole = {"uri": uri, "experiment": None, "run_name": None, "scope": "run", "artifacts": True, **tracking}
    run_dir = new_run(state, packages=(), tracking=whole)
    run_dir.metrics.write_text('{"step": 0, "loss": 0.5}\n')
    (run_dir.outputs / "model.bin").write_bytes(b"weights")
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    return run_dir


def is_whole(server: Server, run_dir: RunDir) -> bool:
    known = server.of(run_dir)
    assert "FINISHED" == known.info["status"]
    assert [(0, 0.5)] == server.history(known.info["run_id"], "loss")
    assert 7 == server.artifacts(known.info["run_id"])["model.bin"]
    return True


def test_runs_that_ended_while_the_server_was_away_arrive_when_it_is_back(
    between: Between, server: Server, home: StateDir
) -> None:
    between.how = "gone"
    runs = [Tracked(ended_run(home, between.uri)) for _ in range(3)]
    for run in runs:
        assert 1 == run.finish()
        close_run(run.run_dir, is_told=False)
    assert [] == home.active.runs()
    assert {run.run_dir.run_id for run in runs} == {run_dir.run_id for run_dir in home.unsent.runs()}
    eventually(lambda: is_locked(home.sender_lock))
    between.how = "well"
    eventually(lambda: not home.unsent.runs())
    assert all(is_whole(server, run.run_dir) for run in runs)
    eventually(lambda: not sender(home), "nothing waits any more, and it is still there")


def test_there_is_one_sender_and_a_killed_one_is_replaced_by_who_comes_next(
    between: Between, server: Server, home: StateDir
) -> None:
    between.how = "gone"
    run_dir = ended_run(home, between.uri)
    home.unsent.add(run_dir)
    for _ in range(3):
        start_sender(home)
    eventually(lambda: is_locked(home.sender_lock) and 1 == len(sender(home)))
    os.kill(sender(home)[0], signal.SIGKILL)
    eventually(lambda: not is_locked(home.sender_lock))
    between.how = "well"
    start_sender(home)
    eventually(lambda: not home.unsent.runs())
    assert is_whole(server, run_dir)


def test_a_server_that_says_nothing_holds_up_no_run_of_another(between: Between, server: Server, home: StateDir) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held_up = [ended_run(home, f"http://127.0.0.1:{silent.getsockname()[1]}") for _ in range(2)]
        others = [ended_run(home, between.uri) for _ in range(2)]
        for run_dir in (*held_up, *others):
            home.unsent.add(run_dir)
        start_sender(home)
        silent.accept()
        eventually(lambda: not any(each in home.unsent for each in others), within_s=20)
        assert all(each in home.unsent for each in held_up)
    assert all(is_whole(server, run_dir) for run_dir in others)


def test_a_run_that_ends_again_before_the_sender_looks_again_is_sent_again(
    between: Between, server: Server, home: StateDir
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home.unsent.add(ended_run(home, f"http://127.0.0.1:{silent.getsockname()[1]}"))  # keeps the sender at work
        run_dir = ended_run(home, between.uri)
        home.unsent.add(run_dir)
        start_sender(home)
        eventually(lambda: run_dir not in home.unsent, every_s=0.001)
        write_event(run_dir.journal, "resumed", pid=1)
        write_event(run_dir.journal, "finished", reason="lost", exit_code=125, usage={})
        home.unsent.add(run_dir)
        eventually(lambda: run_dir not in home.unsent)
    assert "KILLED" == server.of(run_dir).info["status"]


def test_what_nobody_can_read_holds_up_no_run_behind_it(between: Between, server: Server, home: StateDir) -> None:
    broken, sound = ended_run(home, between.uri), ended_run(home, between.uri)
    write_description(broken, Description("digits", "digits", "ada", 0, uri=between.uri))
    broken.tracking.write_text("{}")
    for run_dir in (broken, sound):
        home.unsent.add(run_dir)
    start_sender(home)
    eventually(lambda: sound not in home.unsent)
    assert is_whole(server, sound)
    eventually(lambda: broken.run_id in (home.mlflow / "sender.log").read_text(), "whose fault it is")


def test_what_is_refused_for_good_leaves_the_list_with_its_reason(between: Between, server: Server, home: StateDir) -> None:
    experiment = server.client.post("experiments/create", {"name": f"gone-{time.time_ns()}"})["experiment_id"]
    name = server.client.get("experiments/get", experiment_id=experiment)["experiment"]["name"]
    server.client.post("experiments/delete", {"experiment_id": experiment})
    run_dir = ended_run(home, between.uri, experiment=name)
    home.unsent.add(run_dir)
    Sender(home).send()
    assert run_dir not in home.unsent
    assert not is_synced(run_dir)
    said = json.loads(run_dir.tracker_state.read_text())
    assert said["is_given_up"]
    assert f"the MLflow experiment `{name}` is deleted" in said["failure"]


def test_a_run_that_was_removed_leaves_the_list(home: StateDir) -> None:
    run_dir = ended_run(home, "http://127.0.0.1:9")
    home.unsent.add(run_dir)
    shutil.rmtree(run_dir.root)
    Sender(home).send()
    assert [] == home.unsent.runs()
    assert not run_dir.root.exists()


def test_a_sender_that_brings_nothing_to_anybody_ends_some_time(home: StateDir) -> None:
    run_dir = ended_run(home, "http://127.0.0.1:9")
    home.unsent.add(run_dir)
    assert {run_dir.run_id} == Sender(home, hope_s=0.2).send()
    assert run_dir in home.unsent


def test_a_sender_that_lacks_credentials_makes_room_for_one_that_may_have_them(home: StateDir) -> None:
    """Though another server may be back at any moment."""

    class Unauthorized(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        do_POST = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Unauthorized) as guarded:
        threading.Thread(target=guarded.serve_forever).start()
        runs = [ended_run(home, uri) for uri in ("http://127.0.0.1:9", f"http://127.0.0.1:{guarded.server_port}")]
        for run_dir in runs:
            home.unsent.add(run_dir)
        assert {run_dir.run_id for run_dir in runs} == Sender(home, hope_without_credentials_s=0.2).send()
        guarded.shutdown()


def test_a_sweep_comes_before_its_trials_when_its_server_is_back(between: Between, server: Server, home: StateDir) -> None:
    between.how = "gone"
    trials = [ended_run(home, between.uri) for _ in range(2)]
    sweep = new_run(home, packages=())
    sweep.plan.unlink()
    write_description(sweep, Description("digits", "sweep", "ada", 0, uri=between.uri, artifacts=False))
    write_event(sweep.journal, "finished", reason="completed", exit_code=0)
    for trial in trials:
        created, *others = trial.journal.read_text().splitlines()
        lines = [json.dumps({**json.loads(created), "parent_run_id": sweep.run_id}), *others]
        trial.journal.write_text("".join(f"{line}\n" for line in lines))
    for run_dir in (*trials, sweep):
        home.unsent.add(run_dir)
    start_sender(home)
    between.how = "well"
    eventually(lambda: not home.unsent.runs())
    expected = server.of(sweep).info["run_id"]
    assert [expected, expected] == [server.of(trial).tags["mlflow.parentRunId"] for trial in trials]


def test_a_sender_has_nobodys_secrets_where_others_can_read_them(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k-of-ada")
    home.unsent.add(ended_run(home, "http://127.0.0.1:9"))
    start_sender(home)
    (pid,) = eventually(lambda: is_locked(home.sender_lock) and sender(home))
    assert b"t0k-of-ada" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_no_sender_is_started_in_a_clusters_job(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    run_dir = ended_run(home, "http://127.0.0.1:9")
    close_run(run_dir, is_told=False)
    assert run_dir in home.unsent
    assert [] == sender(home)


def test_where_nothing_waits_no_process_is_started(home: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_spawn", lambda *_, **__: pytest.fail("a process"))
    start_sender(home)
    close_run(ended_run(home, "http://127.0.0.1:9"), is_told=True)
    assert [] == home.unsent.runs()


def test_a_sender_keeps_no_descriptor_of_who_started_it(home: StateDir) -> None:
    """A command in `$(…)` returns when its pipe is closed by all."""
    home.unsent.add(ended_run(home, "http://127.0.0.1:9"))
    code = "import sys; from launcher.run.sending import *; from pathlib import Path; start_sender(StateDir(Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, home.root], capture_output=True, timeout=20, check=True)
    assert (b"", b"") == (done.stdout, done.stderr)
    eventually(lambda: is_locked(home.sender_lock))


def test_sync_waits_for_what_the_sender_is_at(
    server: Server, between: Between, home: StateDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(home.root))
    between.how, between.slow_s = "slow", 0.4
    run_dir = ended_run(home, between.uri)
    home.unsent.add(run_dir)
    start_sender(home)
    eventually(lambda: is_locked(lock_path(run_dir)))
    assert 0 == main.run(["sync", run_dir.run_id])
    assert f"{run_dir.run_id} is being sent: waiting for that\n{run_dir.run_id} sent\n" == capsys.readouterr().err
    assert is_synced(run_dir)
    assert is_whole(server, run_dir)
