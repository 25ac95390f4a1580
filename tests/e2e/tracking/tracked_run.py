"""A run without a container: the files that the command and the supervisor write, a real tracker, and a program's requests.

The tracker is forked as the supervisor forks it; the program's loopback is the host's.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import urllib.error
import urllib.request
from typing import Any

from journal_lines import write_event

from launcher.run.start.create_run import new_run_dir
from launcher.run.supervisor.tracker_process import program_env
from launcher.tracking import tracker, tracker_protocol
from runtime.state_dir import RunDir, StateDir

DIGEST = "sha256:" + "a" * 64


def new_run(state: StateDir, *, packages: tuple[str, ...] = ("mlflow",), **spec: Any) -> RunDir:
    """The directory of a run that is about to start."""
    run_dir = new_run_dir(state.ensure())
    whole = {
        "name": "digits",
        "params": {"lr": 0.1, "hidden": [64, 32], "opt": {"name": "adam"}},
        "seed": 7,
        "tags": {"team": "vision"},
        "tracking": {"uri": None, "experiment": None, "run_name": None, "scope": "run", "artifacts": True},
        "outputs": {"keep": ["**"], "max_size": None},
        **spec,
    }
    plan = {
        "spec": whole,
        "spec_digest": DIGEST,
        "build": {"steps": [{"step": "install-wheel", "name": name} for name in packages]},
        "code": {
            "digest": DIGEST,
            "git": {"commit": "c" * 40, "branch": "main", "dirty": True, "remote_url": None, "diff": "+x"},
        },
        "lock": {"python": "3.13.5", "platform": "linux", "wheels": [], "digest": DIGEST},
        "base_digest": DIGEST,
        "argv": ["python3", "train.py", "--lr=0.1"],
        "overrides": ["params.lr=0.1"],
        "threads": 1,
        "cpus": 1,
        "gpus": 0,
    }
    identity = {"command": ["launch", "experiment=digits", "params.lr=0.1"], "note": "a try"}
    run_dir.plan.write_text(json.dumps({"plan": plan, "image_digest": DIGEST, "identity": identity}))
    run_dir.outputs.mkdir()
    for file in (run_dir.metrics, run_dir.stdout, run_dir.stderr):
        file.touch()
    write_event(
        run_dir.journal, "created", run_id=run_dir.run_id, experiment="digits", user="ada", host="box", params=whole["params"]
    )
    return run_dir


class Tracked:
    """Stands for the supervisor and its program."""

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir = run_dir
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            tracker.serve(run=(run_dir, theirs))
        theirs.close()
        self.ready = self._read_ready()
        self.port = 0
        if self.ready.get("mlflow"):
            self.listen()

    def _read_ready(self) -> dict[str, Any]:
        assert select.select([self.channel], [], [], 60)[0], "the tracker says nothing"
        return dict(json.loads(self.channel.recv(1 << 16).removeprefix(tracker_protocol.READY)))

    def listen(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            self.port = listener.getsockname()[1]
            socket.send_fds(self.channel, [tracker_protocol.LISTENER], [listener.fileno()])

    @property
    def run_id(self) -> str:
        return str(self.ready["mlflow"]["run_id"])

    @property
    def env(self) -> dict[str, str]:
        return program_env(self.ready["mlflow"], self.port, self.ready["token"])

    def start(self) -> Tracked:
        write_event(self.run_dir.journal, "started", attempt=1)
        return self

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, raw: bytes | None = None
    ) -> tuple[int, Any]:
        """A request of the program. Returns status and JSON (or bytes)."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.ready['token']}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content

    def post(self, endpoint: str, **body: Any) -> tuple[int, Any]:
        return self.call("POST", f"/api/2.0/mlflow/{endpoint}", body)

    def get(self, path: str) -> tuple[int, Any]:
        return self.call("GET", f"/api/2.0/mlflow/{path}")

    def take(self) -> Tracked:
        """As `mlflow.start_run()` takes up the run that MLFLOW_RUN_ID names; who asks for another one gets a child."""
        assert 200 == self.post("runs/update", run_id=self.run_id, status="RUNNING")[0]
        return self

    def settle(self) -> None:
        """Return when the server has what was logged so far: the gateway sends it before it asks the server for anything."""
        assert 200 == self.get(f"metrics/get-history?run_id={self.run_id}&metric_key=none")[0]

    def finish(self, reason: str = "completed", exit_code: int = 0) -> int:
        """As the supervisor ends a run. Returns the tracker's exit code."""
        write_event(self.run_dir.journal, "finished", reason=reason, exit_code=exit_code, usage={"peak_memory_bytes": 4096})
        self.channel.send(tracker_protocol.END)
        return self.leave()

    def leave(self) -> int:
        """As a supervisor that dies, or has ended."""
        self.channel.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill_tracker(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.channel.close()
