"""A node that does not reach the MLflow server: the program logs all the same, and who reaches the server sends it later.

The server listens on the loopback of a network namespace of its own. Jobs are not in it; `launch sync` is, as a machine would be
that reaches the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from launch_command import write_project

from runtime.network.veth import inside

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs", "netns", "unshare", "patience")

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/logs}
command: [python3, logs.py]
cpus: 0.5
memory: 256MiB
"""
PROGRAM = """\
import json, os, time, urllib.request
uri, run = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_RUN_ID"]
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
def ask(path, body=None):
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/{path}", body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)
for step in range(3):
    point = {"key": "loss", "value": 1 / (step + 1), "timestamp": int(time.time() * 1000), "step": step}
    ask("runs/log-metric", {"run_id": run, **point})
print(ask(f"runs/get?run_id={run}")["run"]["data"]["metrics"][0]["value"], flush=True)
"""
SERVER = """\
import os, sys
from runtime.network import loopback
loopback.bring_up()
root, port = sys.argv[1:]
options = ["--host=127.0.0.1", f"--port={port}", "--workers=1", f"--backend-store-uri=sqlite:///{root}/mlflow.db"]
os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *options, f"--artifacts-destination={root}/artifacts"])
"""
PORT = 5999
URI = f"http://127.0.0.1:{PORT}"


@contextmanager
def away(root: Path):
    """A server that only those reach who are in its network namespace. Gives that namespace."""
    argv = ["unshare", "--net", sys.executable, "-c", SERVER, str(root), str(PORT)]
    with (root / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True) as server:
        try:
            own = os.readlink("/proc/self/ns/net")
            deadline = time.monotonic() + 180  # MLflow's own server on a busy machine
            while os.readlink(f"/proc/{server.pid}/ns/net") == own:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            network = os.open(f"/proc/{server.pid}/ns/net", os.O_RDONLY)
            with inside(network):
                while not _answers():
                    assert time.monotonic() < deadline, (root / "log").read_text()
                    time.sleep(0.1)
            yield network
            os.close(network)
        finally:
            os.killpg(server.pid, 15)


def _answers() -> bool:
    try:
        return urllib.request.urlopen(f"{URI}/health", timeout=5).status == 200
    except OSError:
        return False


def _losses(run_id: str) -> list[tuple[int, float]]:
    address = f"{URI}/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss"
    with urllib.request.urlopen(address, timeout=10) as reply:
        return [(int(point["step"]), round(point["value"], 3)) for point in json.load(reply)["metrics"]]


@pytest.mark.parametrize("sends", [["sync"], ["logs", "-f"]], ids=["launch sync", "who watches"])
def test_what_a_program_logs_where_no_server_is_reached_arrives_later(launch, tmp_path, sends):
    launch.project = write_project(tmp_path / "project", "logs", experiment=EXPERIMENT, program=PROGRAM)
    with away(tmp_path) as network:
        run_id = launch("experiment=logs", "cluster=slurm", "-d", "-q", f"tracking.uri={URI}").stdout.strip()
        if sends == ["sync"]:
            launch("wait", run_id)
            assert launch.record(run_id)["mlflow_run_id"] is None
        assert "0.333" in launch("logs", "-f", run_id).stdout
        with inside(network):
            deadline = time.monotonic() + 60
            while launch.record(run_id)["mlflow_run_id"] is None:
                launch(*sends, run_id)
                assert time.monotonic() < deadline
            assert [(0, 1.0), (1, 0.5), (2, 0.333)] == _losses(launch.record(run_id)["mlflow_run_id"])
    assert "0.333" in launch("logs", run_id).stdout
