"""A minute of 1,000 metrics a second, the server away for its middle half: nothing is lost, nobody waits, nothing piles up."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_peer import Server, stop_server
from tracked_run import Tracked, new_run
from unwell_proxy import Between

from launcher.tracking.mlflow import local_server
from launcher.tracking.sync import sync_run
from runtime.state_dir import StateDir

pytestmark = pytest.mark.any_user

METRICS, STEPS, STEP_S = 100, 600, 0.1
AWAY_FROM, AWAY_UNTIL = STEPS // 4, 3 * STEPS // 4


class Program:
    """Logs as MLflow 3's client does: asks for the run before each batch, on one kept connection."""

    def __init__(self, run: Tracked) -> None:
        self._run = run
        self._connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=10)

    def log(self, step: int) -> float:
        """Seconds that it took."""
        points = [
            {"key": f"metric_{number:03}", "value": float(step), "timestamp": 1_700_000_000_000 + step, "step": step}
            for number in range(METRICS)
        ]
        begun = time.monotonic()
        self._call("GET", f"runs/get?run_id={self._run.run_id}")
        self._call("POST", "runs/log-batch", {"run_id": self._run.run_id, "metrics": points})
        return time.monotonic() - begun

    def _call(self, method: str, endpoint: str, body: Any = None) -> None:
        headers = {"Authorization": f"Bearer {self._run.ready['token']}", "Content-Type": "application/json"}
        self._connection.request(method, f"/api/2.0/mlflow/{endpoint}", None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert 200 == answer.status, content


def a_minute_of(run: Tracked, away: Callable[[bool], None]) -> tuple[list[float], list[int]]:
    """Each call's seconds, and the tracker's memory now and then."""
    program, calls, memory = Program(run), [], []
    begun = time.monotonic()
    for step in range(STEPS):
        if step in (AWAY_FROM, AWAY_UNTIL):
            away(step == AWAY_FROM)
        calls.append(program.log(step))
        if step % 50 == 49:
            memory.append(memory_bytes(run.pid))
        time.sleep(max(0.0, begun + (step + 1) * STEP_S - time.monotonic()))
    return calls, memory


def memory_bytes(pid: int) -> int:
    """Pages of its own and those that it shares with the process that it was forked from: what that one does changes nothing."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


def judge(run: Tracked, server: Server, calls: list[float], memory: list[int]) -> None:
    run_id = json.loads(run.run_dir.mlflow.read_bytes())["run_id"]
    for number in range(METRICS):
        assert [(step, float(step)) for step in range(STEPS)] == server.history(run_id, f"metric_{number:03}")
    at_home, away = calls[:AWAY_FROM] + calls[AWAY_UNTIL:], calls[AWAY_FROM:AWAY_UNTIL]
    assert statistics.median(away) < 2 * statistics.median(at_home) + 0.005
    assert max(calls) < 2.0
    assert max(memory) - memory[0] < 8 << 20, [each >> 20 for each in memory]


@pytest.mark.requires("patience")
def test_a_server_of_ones_own_that_is_gone_for_30_s(between: Between, server: Server, tmp_path: Path) -> None:
    tracking = {"uri": between.uri, "experiment": None, "run_name": None, "scope": "run", "artifacts": False}
    run = Tracked(new_run(StateDir(tmp_path / "home"), tracking=tracking)).start()

    def away(is_away: bool) -> None:
        between.how = "gone" if is_away else "well"

    seen = a_minute_of(run, away)
    run.finish()
    assert sync_run(run.run_dir), "on a busy machine a minute's points take longer than an end may"
    judge(run, server, *seen)


@pytest.mark.requires("patience")
def test_the_local_server_that_stands_still_for_30_s(tmp_path: Path) -> None:
    """Stopped, not ended: it takes connections and answers nothing, and what it had read it may have done."""
    state = StateDir(tmp_path / "home").ensure()
    local_server.ui(state)
    pid = json.loads((state.mlflow / "server.json").read_bytes())["pid"]
    run = Tracked(new_run(state)).start()
    try:
        seen = a_minute_of(run, lambda is_away: os.kill(pid, signal.SIGSTOP if is_away else signal.SIGCONT))
        run.finish()
        assert sync_run(run.run_dir), "as above"
        judge(run, Server(state), *seen)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        stop_server(state)
