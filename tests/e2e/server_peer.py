"""The local MLflow server as the tests see it: asked past the gateway, by plain REST."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import dataclass
from typing import Any

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.rest import Mlflow
from runtime.kernel.process_identity import process_started
from runtime.state_dir import RunDir, StateDir


@dataclass(frozen=True)
class Known:
    """What MLflow has of one run, asked past the gateway."""

    info: dict[str, Any]
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, Any]


def end_sending(state: StateDir) -> None:
    """Let the sender end: a test is over, and its server, which a busy machine may still be starting, need not come up."""
    for run_dir in state.unsent.runs():
        state.unsent.remove(run_dir)


def stop_server(state: StateDir, *, timeout_s: float = 15.0) -> bool:
    """End the server and wait for it. False when none was up."""
    try:
        serving = json.loads((state.mlflow / "server.json").read_text())
        descriptor = os.pidfd_open(serving["pid"])
    except (FileNotFoundError, ProcessLookupError):
        return False
    try:
        if process_started(serving["pid"]) != serving["started"]:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], timeout_s)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
    return True


class Server:
    """The server, and the LAUNCH_HOME it belongs to."""

    def __init__(self, state: StateDir) -> None:
        self.state = state
        self.client = Mlflow(LocalAddress(state.root))

    def run(self, run_id: str) -> Known:
        run = self.client.get("runs/get", run_id=run_id)["run"]
        data = run["data"]
        named = {kind: {each["key"]: each["value"] for each in data.get(kind, [])} for kind in ("params", "tags", "metrics")}
        return Known(run["info"], **named)

    def of(self, run_dir: RunDir) -> Known:
        return self.run(json.loads(run_dir.mlflow.read_bytes())["run_id"])

    def history(self, run_id: str, key: str) -> list[tuple[int, Any]]:
        found = self.client.get("metrics/get-history", run_id=run_id, metric_key=key).get("metrics", [])
        return [(int(point.get("step", 0)), point["value"]) for point in found]

    def artifacts(self, run_id: str, path: str = "") -> dict[str, Any]:
        """Path → size of every artifact below *path*."""
        listed = self.client.get("artifacts/list", run_id=run_id, path=path).get("files", [])
        found: dict[str, Any] = {}
        for file in listed:
            if file["is_dir"]:
                found |= self.artifacts(run_id, file["path"])
            else:
                found[file["path"]] = int(file.get("file_size", 0))
        return found

    def runs_of(self, experiment_id: str) -> list[str]:
        found = self.client.post("runs/search", {"experiment_ids": [experiment_id], "max_results": 1000})
        return [run["info"]["run_id"] for run in found.get("runs", [])]
