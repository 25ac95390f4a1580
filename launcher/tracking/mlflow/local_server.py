"""The local MLflow server: one for a LAUNCH_HOME, started when first needed, ended by itself when nobody needs it.

    mlflow/server.sock   where launches talk to it (the directory is 0700)
    mlflow/server.json   {"pid", "started", "ui_port"}: the process that serves now
    mlflow/ui_port       the port of the UI, kept so that an address printed last week works again
    mlflow/ui_token      what who asks at that port from a container has to show
    mlflow/server.log    what it says
    locks/mlflow-server.lock   held by the serving process for its life

It is its own session, survives the command that started it, and is no child of anybody. When it is up this module costs one
connect. What runs inside is `server_main.py`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.tracking.bare_environment import bare_environment
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import MlflowUnreachable, connect_unix
from runtime.json_files import json_object
from runtime.state_dir import StateDir

_START_TIMEOUT_S = 90.0


def is_up(state: StateDir) -> bool:
    """Whether somebody listens. A server that is still loading listens already and answers a little later."""
    try:
        connect_unix(LocalAddress(state.root), timeout_s=2.0).close()
    except OSError:
        return False
    return True


def start_in_background(state: StateDir) -> None:
    """Start the server unless it is up; don't wait for it. Two at once are harmless: the lock lets one serve."""
    if not is_up(state):
        _spawn(state)


def ensure_server(state: StateDir) -> None:
    """Start the server unless it is up, and return when it listens (its first answer may take seconds more).

    Raises LaunchError, with the end of the server's log, when it ends instead.
    """
    if not is_up(state):
        _wait_until_up(state, _spawn(state))


def ui_url(state: StateDir) -> str | None:
    """Of a server that is up: the UI on loopback; None when no port could be had."""
    port = _server_json(state).get("ui_port")
    return f"http://127.0.0.1:{port}" if port else None


def ui(state: StateDir) -> str:
    """The URL of the UI, with the server started and answering. Raises LaunchError."""
    ensure_server(state)
    _wait_until_answering(state)
    url = ui_url(state)
    if url is None:
        raise LaunchError(
            "the local MLflow server has no port for its UI",
            hint=f"set LAUNCH_UI_PORT to a free one and stop the server (pid {_server_json(state).get('pid')})",
        )
    return url


def _spawn(state: StateDir) -> Any:
    """Start the server as the leader of a session of its own."""
    import subprocess

    state.ensure()
    with open(LocalAddress(state.root).log, "ab", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)) as log:
        return subprocess.Popen(
            # -P: the working directory must not lend modules to the server.
            [sys.executable, "-P", "-m", "launcher.tracking.mlflow.server_main", str(state.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_server_environ(),
            start_new_session=True,
        )


def _server_environ() -> dict[str, str]:
    """Without secrets, for it lives long, and without what is meant for MLflow's clients: it must not track to another server."""
    own = {name: value for name, value in os.environ.items() if name == "LAUNCH_MLFLOW_IDLE_S"}
    return {**bare_environment(), **own, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}


def _wait_until_up(state: StateDir, process: Any) -> None:
    address, deadline = LocalAddress(state.root), time.monotonic() + _START_TIMEOUT_S
    while not is_up(state):
        # 0 means that another launch's server holds the lock and is about to listen.
        if process.poll() not in (None, 0):
            words = address.last_words() or "it said nothing"
            raise MlflowUnreachable(
                f"the local MLflow server ended with {process.returncode}: {words}",
                hint=f"its log is `{address.log}`; `tracking=none` runs without it",
            )
        if time.monotonic() > deadline:
            raise MlflowUnreachable(
                f"the local MLflow server does not listen after {_START_TIMEOUT_S:g} s", hint=f"see `{address.log}`"
            )
        time.sleep(0.02)


def _wait_until_answering(state: StateDir) -> None:
    from launcher.tracking.mlflow.rest import Mlflow

    client = Mlflow(LocalAddress(state.root), timeout_s=_START_TIMEOUT_S)
    try:
        client.send("GET", "/health", headers={}).content()
    finally:
        client.close()


def _server_json(state: StateDir) -> dict[str, Any]:
    return json_object(state.mlflow / "server.json")
