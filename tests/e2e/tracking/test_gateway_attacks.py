"""A program, or a neighbour on the host's network, that tries to get more from the gateway than its own run."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from server_peer import Server
from tracked_run import Tracked, new_run

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def run(server: Server) -> Iterator[Tracked]:
    tracked = Tracked(new_run(server.state)).start().take()
    assert 200 == tracked.get(f"runs/get?run_id={tracked.run_id}")[0]
    yield tracked
    tracked.finish()


@pytest.fixture(scope="module")
def other(run: Tracked, server: Server) -> str:
    """A run of somebody else's in the same experiment."""
    return server.client.create_run(run.ready["mlflow"]["experiment_id"], name="other", start_ms=1, tags={}, user="eve").run_id


def said(run: Tracked, message: bytes) -> bytes:
    """The first bytes of the answer to *message*; none when the connection is closed instead."""
    with socket.create_connection(("127.0.0.1", run.port), timeout=20) as sock:
        sock.sendall(message)
        try:
            return sock.recv(4096)
        except ConnectionResetError:
            return b""


def test_another_run_cannot_be_named_in_another_spelling(run: Tracked, other: str, server: Server) -> None:
    """Protobuf's JSON takes `runId` for `run_id`."""
    assert 400 == run.post("runs/log-metric", run_id=run.run_id, runId=other, key="a", value=1, timestamp=1)[0]
    assert 400 == run.post("logged-models", name="m", sourceRunId=other)[0]
    assert 403 == run.post("runs/log-metric", run_id="", run_uuid=other, key="a", value=1, timestamp=1)[0]
    assert 403 == run.post("runs/log-metric", run_id=[other], key="a", value=1, timestamp=1)[0]
    assert {} == server.run(other).metrics


def test_a_path_behind_a_model_leads_nowhere_else(run: Tracked, other: str, server: Server) -> None:
    model = run.post("logged-models", name="weights")[1]["model"]["info"]["model_id"]
    assert 200 == run.get(f"logged-models/{model}")[0]
    for rest in ("/../../runs/delete", "/%2e%2e/%2e%2e/runs/delete", "/tags/..", "/tags/a%2f..%2f..%2f..", "/nothing"):
        assert 403 == run.post(f"logged-models/{model}{rest}", run_id=other)[0]
    assert "active" == server.run(other).info["lifecycle_stage"]


def test_metrics_of_anothers_model_are_not_ours_to_log(run: Tracked, server: Server) -> None:
    experiment_id = run.ready["mlflow"]["experiment_id"]
    model = server.client.post("logged-models", {"experiment_id": experiment_id, "name": "theirs"})["model"]["info"]["model_id"]
    point = {"key": "acc", "value": 1, "timestamp": 1, "step": 0, "model_id": model}
    assert 403 == run.post("runs/log-batch", run_id=run.run_id, metrics=[point])[0]
    assert 403 == run.post("runs/log-metric", run_id=run.run_id, **point)[0]


def test_a_run_that_a_program_makes_is_none_of_launchs(run: Tracked, server: Server) -> None:
    forged = [{"key": "launch.run_id", "value": "forged"}, {"key": "mine", "value": "1"}]
    child = run.post("runs/create", run_name="inner", tags=forged)[1]["run"]["info"]["run_id"]
    assert 200 == run.post("runs/set-tag", run_id=child, key="launch.run_id", value="forged")[0]
    assert 200 == run.post("runs/log-batch", run_id=child, tags=forged)[0]
    tags = server.run(child).tags
    assert (None, "1") == (tags.get("launch.run_id"), tags["mine"])
    run.post("runs/update", run_id=child, status="FINISHED")


@pytest.mark.parametrize(
    "point",
    [
        pytest.param({"step": 2**63}, id="step"),
        pytest.param({"timestamp": -(2**64)}, id="time"),
        pytest.param({"step": 1e400}, id="infinite step"),
        pytest.param({"value": None}, id="no value"),
    ],
)
def test_numbers_that_no_server_can_store_are_refused_at_once(run: Tracked, point: dict[str, object]) -> None:
    """Written down, they would stand in the way of what comes after."""
    body = {"run_id": run.run_id, "key": "far", "value": 1, "timestamp": 1, "step": 0, **point}
    assert 400 == run.post("runs/log-metric", **body)[0]


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a":' * 100_000, b"[]", b"\xff\xfe", b"1" * 5000], ids=lambda body: str(body[:6])
)
def test_a_body_that_is_no_request_is_told_so(run: Tracked, body: bytes) -> None:
    assert 400 == run.call("POST", "/api/2.0/mlflow/runs/log-batch", raw=body)[0]


def test_a_huge_body_is_refused(run: Tracked) -> None:
    assert 413 == run.call("POST", "/api/2.0/mlflow/runs/log-batch", raw=b" " * (9 << 20))[0]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"Content-Length: 2\r\nContent-Length: 90", id="two lengths"),
        pytest.param(b"Content-Length: +2", id="a sign"),
        pytest.param(b"Content-Length: \xb2", id="a digit that is none"),
        pytest.param(b"Content-Type: a\rX-Evil: b\r\nContent-Length: 2", id="a bare carriage return"),
        pytest.param(b"Content-Type: a\x00b\r\nContent-Length: 2", id="a null byte"),
        pytest.param(b"Content-Length : 2", id="a space before the colon"),
    ],
)
def test_a_message_that_can_be_read_in_two_ways_is_not_answered(run: Tracked, headers: bytes) -> None:
    token = run.ready["token"].encode()
    first = b"POST /api/2.0/mlflow/runs/log-batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    assert b"" == said(run, first + token + b"\r\n" + headers + b"\r\n\r\n{}")


def test_neighbours_that_say_nothing_do_not_keep_the_program_from_being_heard(run: Tracked) -> None:
    silent = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(300)]
    half = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(100)]
    for sock in half:
        sock.sendall(b"POST / HTTP/1.1\r\nX: ")
    assert 200 == run.get(f"runs/get?run_id={run.run_id}")[0]
    assert b"" == silent[0].recv(1)  # the oldest had to make room
    for sock in silent + half:
        sock.close()


def put(run: Tracked, path: str, content: bytes = b"forged") -> tuple[int, dict[str, str]]:
    experiment = run.ready["mlflow"]["experiment_id"]
    return run.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run.run_id}/artifacts/{path}", raw=content)


@pytest.mark.parametrize("path", ["launch/plan.json", "launch", "logs/stdout.txt", "logs", "%6c%6fgs/x", "logs%2fx"])
def test_the_names_of_the_record_are_not_the_program_s_to_write(run: Tracked, path: str) -> None:
    status, answer = put(run, path)
    assert (403, "PERMISSION_DENIED") == (status, answer["error_code"])
    assert "log it under another name" in answer["message"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/".join("d" * 2000), id="2000 parts"),
        pytest.param("/".join("d" * 150), id="150 parts"),
        pytest.param("x" * 300, id="a long name"),
        pytest.param("ä" * 200, id="a name of many bytes"),
        pytest.param("long-enough/" * 95 + "x", id="many bytes"),
    ],
)
def test_the_long_path_is_refused_in_words(run: Tracked, path: str) -> None:
    """2,000 parts were a RecursionError, which is a 500, which MLflow's client tries again for minutes."""
    from urllib.parse import quote

    status, answer = put(run, quote(path))
    assert (400, True) == (status, "is too long" in answer["message"]), answer
    assert 400 == run.get(f"artifacts/list?run_id={run.run_id}&path={quote(path)}")[0]


def test_no_spelling_of_a_tag_of_ours_is_the_program_s_to_set(run: Tracked, server: Server) -> None:
    """MySQL's default collation takes them all for one key, and would write over ours."""
    for key in ("LAUNCH.plan_digest", "launch.plan_digest ", " launch.x", "l\u00e0unch.x", "\uff4caunch.x", "MLFLOW.PARENTRUNID"):
        assert run.post("runs/set-tag", run_id=run.run_id, key=key, value="forged")[0] in (200, 400)
        assert 200 != run.post("runs/delete-tag", run_id=run.run_id, key=key)[0]
    run.settle()
    assert "forged" not in server.run(run.run_id).tags.values()


def test_a_run_of_the_program_is_below_none_of_anothers(run: Tracked, other: str, server: Server) -> None:
    child = run.post("runs/create", run_name="inner")[1]["run"]["info"]["run_id"]
    forged = {"key": "mlflow.parentRunId", "value": other}
    assert 403 == run.post("runs/set-tag", run_id=child, **forged)[0]
    assert 403 == run.post("runs/log-batch", run_id=child, tags=[forged])[0]
    assert 200 == run.post("runs/set-tag", run_id=child, key="mlflow.parentRunId", value=run.run_id)[0]
    assert 403 == run.post("runs/log-metric", run_id=child, run_uuid=other, key="a", value=1, timestamp=1)[0]
    run.post("runs/update", run_id=child, status="FINISHED")


def test_nothing_that_a_program_says_keeps_the_end_of_its_run_from_being_recorded(server: Server) -> None:
    """Half a surrogate pair, a tag that is not there: the server's answer was taken for a run that is not there, for ever."""
    run = Tracked(new_run(server.state)).start()
    mine = {"run_id": run.run_id}
    for odd in ("\ud800", "a\0b", "\udfff\ud800", "\U0001f600"):
        for endpoint, body in {
            "runs/set-tag": {"key": "odd", "value": odd},
            "runs/log-parameter": {"key": f"odd{len(odd)}", "value": odd},
            "runs/update": {"run_name": odd},
            "runs/log-inputs": {"datasets": [{"dataset": {"name": odd, "digest": "1", "source_type": odd, "source": odd}}]},
            "runs/create": {"run_name": odd, "tags": [{"key": "odd", "value": odd}]},
        }.items():
            run.post(endpoint, **mine, **body)
        run.run_dir.metrics.open("a").write(f'{{"m{odd.encode("unicode_escape").decode()}": 1}}\n')
    assert 200 == run.post("runs/delete-tag", **mine, key="not.there")[0]
    for given in (5, "x", ["x"], {"a": 1}):
        assert 400 == run.post("runs/log-inputs", **mine, datasets=given)[0]
        assert 400 == run.post("runs/outputs", **mine, models=given)[0]
        assert (200 if given == "x" else 400) == run.post("runs/update", **mine, run_name=given)[0]
    run.post("runs/outputs", **mine, models=[{"model_id": "m-not-there", "step": "x"}, {"model_id": ["x"]}, {}])
    run.post("runs/log-inputs", **mine, datasets=[{"dataset": {"name": "x" * 10_000}}, {"dataset": []}, {}])
    run.post("runs/update", **mine, run_name="x" * 10_000)
    run.post("runs/log-metric", **mine, key="after", value=1, timestamp=1, step=0)
    assert 0 == run.finish(), run.run_dir.supervisor_log.read_text()
    known = server.run(run.run_id)
    assert ("FINISHED", 1, "\U0001f600") == (known.info["status"], known.metrics["after"], known.tags["odd"])
    assert 250 == len(known.info["run_name"])
