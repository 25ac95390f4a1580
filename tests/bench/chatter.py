"""The program of `table.py metrics`: computes for a fixed amount of work, and logs after each step. Runs in the container.

    chatter.py HOW STEPS WORK METRICS

Prints a JSON object: the seconds from the first step to the last, and those of each call. With WORK 0 it prints how much work
takes a second here.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

Log = Callable[[dict[str, float], int], None]


class Deaf(http.server.BaseHTTPRequestHandler):
    """A server that reads, says what it has to and does nothing: what MLflow's client takes by itself."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    known: bytes

    def do_GET(self) -> None:
        self._answer(self.known)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"{}")

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_words: Any) -> None:
        return


def nowhere() -> Log:
    return lambda metrics, step: None


def file() -> Log:
    lines = open(os.environ["LAUNCH_METRICS"], "a", buffering=1)  # noqa: SIM115  as long as the program
    return lambda metrics, step: print(json.dumps({"step": step, **metrics}), file=lines)


def mlflow() -> Log:
    import mlflow

    return lambda metrics, step: mlflow.log_metrics(metrics, step=step, run_id=os.environ["MLFLOW_RUN_ID"])


def deaf() -> Log:
    """What it says of the run is what the gateway says of one that has logged its metrics once."""
    import mlflow

    run_id = os.environ["MLFLOW_RUN_ID"]
    mlflow.log_metrics(METRICS, step=0, run_id=run_id)
    Deaf.known = _asked(f"/api/2.0/mlflow/runs/get?run_id={run_id}")
    server = http.server.HTTPServer(("127.0.0.1", 0), Deaf)
    multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True).start()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{server.server_port}")
    return lambda metrics, step: mlflow.log_metrics(metrics, step=step, run_id=run_id)


def _asked(path: str) -> bytes:
    headers = {"Authorization": f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + path, headers=headers)) as answer:
        return bytes(answer.read())


def computed(work: int) -> int:
    number = 1
    for _ in range(work):
        number = number * 1103515245 + 12345 & 0x7FFFFFFF
    return number


def chatter(log: Log, steps: int, work: int) -> dict[str, Any]:
    calls = []
    log(METRICS, 0)  # opens the connection, which a training does once
    begun = time.perf_counter()
    for step in range(1, steps):
        computed(work)
        called = time.perf_counter()
        log(METRICS, step)
        calls.append(time.perf_counter() - called)
    return {"seconds": time.perf_counter() - begun, "calls": calls}


def work_of_a_second() -> int:
    begun = time.perf_counter()
    computed(1_000_000)
    return int(1_000_000 / (time.perf_counter() - begun))


if __name__ == "__main__":
    how, steps, work, count = sys.argv[1], *map(int, sys.argv[2:])
    METRICS = {f"metric_{number:03}": float(number) for number in range(count)}
    ways = {"nowhere": nowhere, "mlflow": mlflow, "deaf": deaf, "file": file}
    print(json.dumps(chatter(ways[how](), steps, work) if work else work_of_a_second()))
