"""`notify`: who is told of a run's end, by a real server and real commands."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from journal_lines import write_event
from waiting import eventually

from launcher.run.notice import keep_receiver, notify
from launcher.run.sending import close_run
from runtime.state_dir import RunDir


class Receiver(ThreadingHTTPServer):
    """Takes what is posted, and answers with *status*, or not before `may_answer` is set."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.posted: list[tuple[str, str | None, dict[str, Any]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/secret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Content-Type"], body))
        self.server.may_answer.wait()
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.may_answer.set()
        server.shutdown()


@pytest.fixture
def ended(run_dir: RunDir) -> RunDir:
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, experiment="digits", name="wide", tracking=False)
    write_event(run_dir.journal, "finished", reason="program", exit_code=3, usage={})
    return run_dir


def test_an_address_gets_one_post_of_json(ended: RunDir, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    keep_receiver(ended, receiver.url)
    notify(ended)
    [(path, kind, body)] = receiver.posted
    assert ("/hooks/secret", "application/json") == (path, kind)
    assert ended.run_id == body["run_id"]
    assert ("run", "digits", "FAILED", "program", 3) == tuple(
        body[name] for name in ("kind", "experiment", "status", "reason", "exit_code")
    )
    assert f"run {ended.run_id} (wide) ended as FAILED: program, exit code 3" == body["text"]
    assert "" == capfd.readouterr().err


def test_a_command_has_the_end_in_its_variables_and_runs_where_launch_was_typed(
    ended: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keep_receiver(ended, ("sh", "-c", 'echo "$LAUNCH_RUN_ID $LAUNCH_STATUS $LAUNCH_REASON $LAUNCH_EXIT_CODE" >told'))
    monkeypatch.chdir("/")
    notify(ended)
    assert f"{ended.run_id} FAILED program 3\n" == (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("sh", "-c", "exit 7"), "`sh` exited with 7", id="fails"),
        pytest.param(("/no/such/program",), "`/no/such/program` cannot be executed: ", id="is not there"),
        pytest.param(("sh", "-c", "sleep 1000 & wait"), "`sh` was killed: it had not ended after 0.5 s", id="never ends"),
    ],
)
def test_a_command_that_fails_is_one_warning(
    ended: RunDir, words: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_receiver(ended, words)
    notify(ended, command_ends_within_s=0.5 if "1000" in words[-1] else 60)
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: nobody was told of the end of `{ended.run_id}` (`notify`): {said}")


def test_a_receiver_that_refuses_is_one_warning_without_its_path(
    ended: RunDir, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.status = 404
    keep_receiver(ended, receiver.url)
    notify(ended)
    [line] = capfd.readouterr().err.splitlines()
    assert line.endswith(f": `http://127.0.0.1:{receiver.server_port}` answered 404")


def test_a_receiver_that_never_answers_is_given_up(ended: RunDir, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver.may_answer.clear()
    keep_receiver(ended, receiver.url)
    notify(ended, answer_within_s=0.5)
    assert "timed out after 0.5 s" in capfd.readouterr().err


def test_a_receiver_that_is_gone_is_one_warning(ended: RunDir, receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    keep_receiver(ended, receiver.url)
    receiver.shutdown()
    receiver.server_close()
    notify(ended)
    [line] = capfd.readouterr().err.splitlines()
    assert "does not answer: " in line
    assert "secret" not in line


def test_a_run_is_told_of_when_it_leaves_the_list_of_those_that_go_on_and_not_again(ended: RunDir, tmp_path: Path) -> None:
    told = tmp_path / "told"
    keep_receiver(ended, ("sh", "-c", f"echo $LAUNCH_RUN_ID >>{told}"))
    ended.state.active.add(ended)
    close_run(ended, is_told=True)
    close_run(ended, is_told=True)  # by whoever had seen it on the list, too
    eventually(told.exists, "nobody was told")
    ended.state.active.add(ended)  # after `resume`, its second end
    close_run(ended, is_told=True)
    eventually(lambda: 2 <= len(told.read_text().splitlines()), "the second end was not told")
    assert [ended.run_id] * 2 == told.read_text().splitlines()


def test_a_run_that_nobody_asked_about_is_told_to_nobody(ended: RunDir) -> None:
    keep_receiver(ended, ("true",))
    keep_receiver(ended, None)
    ended.state.active.add(ended)
    close_run(ended, is_told=True)
    assert not ended.supervisor_log.exists()
    assert "notify.json" not in os.listdir(ended.root)
