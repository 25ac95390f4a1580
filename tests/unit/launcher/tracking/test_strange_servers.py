"""A server that answers 200 and is not MLflow's (a proxy, a portal's page, another service) is recognised, whatever is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launcher.tracking.mlflow.address import parse_uri
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.rest import Mlflow
from launcher.tracking.record.recorded_elsewhere import fetch_record
from runtime.state_dir import StateDir

RUN_ID = 32 * "a"

QUESTIONS: dict[str, Callable[[Mlflow, StateDir], object]] = {
    "an experiment": lambda client, _: client.experiment("digits"),
    "a new run": lambda client, _: client.create_run("1", name="x", start_ms=1, tags={}, user="ada"),
    "a recorded run": lambda client, state: fetch_record(str(client.address).split("`")[1], RUN_ID, state=state, environ={}),
}
ANSWERS = [b"", b"[]", b"null", b"7", b"{}", b"<html>Please sign in</html>", b'{"run": []}', b'{"experiment": "x"}', b"\xff\xfe"]


@contextmanager
def server_that_says(content: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("content", ANSWERS, ids=repr)
def test_an_answer_that_is_none_names_the_server_and_may_be_tried_again(question: str, content: bytes, state: StateDir) -> None:
    with server_that_says(content) as uri:
        client = Mlflow(parse_uri(uri, environ={}), environ={})
        with pytest.raises(MlflowUnreachable, match=f"the MLflow server `{uri}` does not answer as an MLflow server does: `"):
            QUESTIONS[question](client, state)
        client.close()


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>"], ids=repr)
def test_points_that_a_portal_swallowed_are_not_taken_for_sent(content: bytes) -> None:
    with server_that_says(content) as uri:
        client = Mlflow(parse_uri(uri, environ={}), environ={})
        with pytest.raises(MlflowUnreachable, match="does not answer as"):
            client.post("runs/log-batch", {"run_id": RUN_ID, "metrics": []})
        client.close()
