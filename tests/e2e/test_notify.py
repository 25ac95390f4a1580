"""`notify`: a run that was left tells a command, a sweep tells an address once, and no record tells anybody."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from launch_command import Launch
from waiting import eventually

from runtime.state_dir import StateDir

pytestmark = [pytest.mark.requires("overlayfs", "userns"), pytest.mark.any_user]


def test_ends_are_told_to_a_command_and_to_an_address(launch: Launch, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = f'notify=[sh,-c,"echo $LAUNCH_KIND $LAUNCH_RUN_ID $LAUNCH_REASON $LAUNCH_EXIT_CODE >>{told}"]'
    run = launch("-d", "experiment=probe", "params.how=3", command).stdout.strip()
    eventually(lambda: told.exists() and told.read_text(), "the command was not executed")
    assert f"run {run} program 3\n" == told.read_text()

    again = json.loads(launch("rerun", "--json", run, check=3).stdout)["run_id"]
    home = StateDir(launch.home)
    assert home.run(run).notify.exists()
    assert not home.run(again).notify.exists()

    posted: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"notify=http://127.0.0.1:{server.server_port}/hook"
        sweep = launch("-d", "-m", "experiment=probe", "params.how=0,3", address).stdout.strip()
        eventually(lambda: posted, "nothing was posted")
        server.shutdown()
    launch("wait", sweep, check=1)
    [end] = posted
    assert (sweep, "sweep", "FAILED", "program") == tuple(end[name] for name in ("run_id", "kind", "status", "reason"))
    trials = [home.run(trial["run_id"]) for trial in launch.runs() if trial["sweep_id"] == sweep != trial["run_id"]]
    assert 2 == len(trials)
    assert not any(trial.notify.exists() for trial in trials)
