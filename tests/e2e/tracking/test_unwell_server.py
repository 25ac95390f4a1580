"""A tracking server that is slow, loses answers, fails or is gone in the middle of a run: no metric and no time is lost."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from server_peer import Server
from tracked_run import Tracked, new_run
from unwell_proxy import Between

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir

pytestmark = pytest.mark.any_user


def tracked_by(home: Path, uri: str, *, packages: tuple[str, ...] = ("mlflow",)) -> Tracked:
    tracking = {"uri": uri, "experiment": None, "run_name": None, "scope": "run", "artifacts": False}
    return Tracked(new_run(StateDir(home), packages=packages, tracking=tracking)).start()


def logged(run: Tracked, steps: range) -> None:
    for step in steps:
        assert 200 == run.post("runs/log-metric", run_id=run.run_id, key="loss", value=step, timestamp=1000 + step, step=step)[0]
        time.sleep(0.02)


def history(server: Server, run: Tracked) -> list[tuple[int, int]]:
    run_id = server_run(run)
    points = server.client.get("metrics/get-history", run_id=run_id, metric_key="loss")["metrics"]
    return [(int(point.get("step", 0)), int(point["timestamp"])) for point in points]


def server_run(run: Tracked) -> str:
    return str(json.loads(run.run_dir.mlflow.read_bytes())["run_id"])


@pytest.mark.parametrize("how", ["gone", "failing", "slow", "deaf"])
def test_what_is_logged_while_the_server_is_unwell_arrives_once_and_in_order(
    between: Between, server: Server, tmp_path: Path, how: str
) -> None:
    run = tracked_by(tmp_path, between.uri)
    logged(run, range(20))
    between.how, between.slow_s = how, 600
    logged(run, range(20, 100))  # who waited for a slow server would be here no more
    between.how = "well"
    between.is_released.set()
    logged(run, range(100, 120))
    assert 0 == run.finish(), run.run_dir.supervisor_log.read_text()
    assert [(step, 1000 + step) for step in range(120)] == history(server, run)
    assert "FINISHED" == server.run(server_run(run)).info["status"]


def test_a_run_that_begins_while_the_answers_get_lost_is_there_once(between: Between, server: Server, tmp_path: Path) -> None:
    between.how = "deaf"
    run = tracked_by(tmp_path, between.uri, packages=())
    logged(run, range(5))
    between.how = "well"
    assert 0 == run.finish(), run.run_dir.supervisor_log.read_text()
    experiment = server.client.experiment("digits").experiment_id
    wanted = {"experiment_ids": [experiment], "filter": f"tags.`launch.run_id` = '{run.run_dir.run_id}'"}
    assert 1 == len(server.client.post("runs/search", wanted)["runs"])
    assert 5 == len(history(server, run))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_with_an_authority_of_ones_own(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    between = Between(local_server.ui(server.state), tls=context)
    try:
        unknown = tracked_by(tmp_path / "unknown", between.uri, packages=())
        assert 0 != unknown.leave()
        said = unknown.run_dir.supervisor_log.read_text()
        assert "certificate verify failed" in said
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in said
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        known = tracked_by(tmp_path / "known", between.uri)
        logged(known, range(3))
        assert 0 == known.finish(), known.run_dir.supervisor_log.read_text()
        assert 3 == len(history(server, known))
    finally:
        between.close()
