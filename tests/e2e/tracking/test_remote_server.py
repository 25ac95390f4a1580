"""A `tracking.uri` of the user's own: credentials, answers, storage that the server does not proxy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tracked_run import Tracked, new_run

from launcher.errors import ConfigError
from launcher.tracking.lack import lack_words
from launcher.tracking.mlflow.address import parse_uri
from launcher.tracking.sender import Sender
from launcher.tracking.sync import sync_run
from runtime.state_dir import StateDir

pytestmark = pytest.mark.any_user


@dataclass
class Upstream:
    """A server that answers the little that a run needs, and remembers what it was asked."""

    artifact_uri: str = "mlflow-artifacts:/1/feed/artifacts"
    status: int = 200
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    uri: str = ""

    def answer(self, path: str) -> dict[str, Any]:
        if "experiments/get-by-name" in path:
            return {"experiment": {"experiment_id": "1", "name": "digits", "artifact_location": self.artifact_uri}}
        if path.endswith(("runs/create", "runs/search")) or "runs/get" in path:
            run = {"info": {"run_id": "feed", "experiment_id": "1", "artifact_uri": self.artifact_uri}, "data": {}}
            return {"run": run, "runs": []}
        return {}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    known = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(content)
            except ValueError:
                body = content
            known.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = json.dumps(known.answer(self.path) if known.status == 200 else {"error_code": "X", "message": "no"}).encode()
            self.send_response(known.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _any

        def log_message(self, *_: Any) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.uri = f"http://127.0.0.1:{listening.server_address[1]}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield known
    listening.shutdown()
    listening.server_close()


def remote_run(tmp_path: Path, uri: str) -> Tracked:
    tracking = {"uri": uri, "experiment": None, "run_name": None, "scope": "run", "artifacts": True}
    return Tracked(new_run(StateDir(tmp_path / "home"), tracking=tracking)).start()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"MLFLOW_TRACKING_TOKEN": "t0k"}, "Bearer t0k", id="token"),
        pytest.param({"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Basic YWRhOnB3", id="password"),
    ],
)
def test_credentials_are_the_callers_and_reach_only_the_server(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tracked = remote_run(tmp_path, upstream.uri + "/prefix/")
    assert "feed" == tracked.run_id
    assert 200 == tracked.get(f"runs/get?run_id={tracked.run_id}")[0]
    assert 0 == tracked.finish(), tracked.run_dir.supervisor_log.read_text()
    assert {expected} == {headers.get("authorization") for _, _, headers, _ in upstream.seen}
    assert all(path.startswith("/prefix/api/2.0/") for _, path, _, _ in upstream.seen)
    written = [file.read_bytes() for file in tracked.run_dir.root.rglob("*") if file.is_file()]
    assert not [content for content in written if b"t0k" in content or b"YWRhOnB3" in content]
    assert expected not in str(tracked.env)


def test_a_password_in_the_address_is_refused_before_it_is_recorded() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_uri("https://ada:pw@mlflow.lab:5000")
    assert "`https://mlflow.lab:5000`" in refused.value.message
    assert "pw@" not in str(refused.value.message)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_the_credentials_stops_no_run(upstream: Upstream, tmp_path: Path, status: int) -> None:
    upstream.status = status
    tracked = remote_run(tmp_path, upstream.uri)
    assert tracked.ready["mlflow"]["provisional"] is True
    assert f"answered {status}" in tracked.ready["error"]
    assert 200 == tracked.post("runs/log-metric", run_id=tracked.run_id, key="loss", value=1, timestamp=1, step=0)[0]
    assert 1 == tracked.finish()
    tracked.run_dir.state.unsent.add(tracked.run_dir)
    assert {tracked.run_dir.run_id} == Sender(tracked.run_dir.state).send(), (
        "it ends: with these credentials nothing is to be done"
    )
    lack = lack_words(tracked.run_dir) or ""
    assert f"answered {status}" in lack
    assert "set MLFLOW_TRACKING_TOKEN" in lack
    assert "(sent after the next command that has them)" in lack
    upstream.status = 200
    Sender(tracked.run_dir.state).send()
    assert [] == tracked.run_dir.state.unsent.runs()
    batches = [body for _, path, _, body in upstream.seen if path.endswith("log-batch") and body.get("metrics")]
    assert [{"key": "loss", "value": 1, "timestamp": 1, "step": 0}] == batches[-1]["metrics"]


def test_storage_that_is_not_proxied_is_reached_by_mlflows_own_client(upstream: Upstream, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    upstream.artifact_uri = bucket.as_uri()
    tracked = remote_run(tmp_path, upstream.uri)
    status, answer = tracked.get(f"runs/get?run_id={tracked.run_id}")
    assert (200, "mlflow-artifacts:/1/feed/artifacts") == (status, answer["run"]["info"]["artifact_uri"])
    place = "/api/2.0/mlflow-artifacts/artifacts/1/feed/artifacts"
    assert 200 == tracked.call("PUT", f"{place}/notes/a.txt", raw=b"hello")[0]
    assert b"hello" == tracked.call("GET", f"{place}/notes/a.txt")[1]
    (tracked.run_dir.outputs / "w.bin").write_bytes(b"w")
    tracked.finish()
    assert sync_run(tracked.run_dir), "where the client takes long to load, its tracker has left the files to the sender"
    assert ["hello", "w"] == [(bucket / name).read_text() for name in ("notes/a.txt", "w.bin")]
    assert (bucket / "logs" / "stdout.txt").exists()


def test_an_address_that_is_no_mlflow_server_stops_no_run(tmp_path: Path) -> None:
    tracked = remote_run(tmp_path, "sqlite:///x.db")
    assert "not the address of an MLflow server" in tracked.ready["error"]
    tracked.finish()
