"""The process of the local MLflow server: `python -m launcher.tracking.mlflow.server_main STATE_DIR`.

Only here `mlflow` is imported; one address is ours (`run_endpoint.py`). It listens first, on the private socket and on a
loopback port for the UI, and loads MLflow then: who connects meanwhile just waits. One process serves (MLflow's own starts
eleven). It ends when no request came and no run was tended for LAUNCH_MLFLOW_IDLE_S seconds (default 1800), and soon after its
directory was removed: nobody can find it then. Starting it is `local_server.py`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.local_server import is_up
from launcher.tracking.mlflow.loopback_peer import allowed_users, is_outside_containers, peer_of
from launcher.tracking.mlflow.run_endpoint import Receive, RunEndpoint, RunRows, Scope, Send, is_known_layout
from runtime.file_lock import LockBusy, is_locked, open_locked
from runtime.kernel.process_identity import process_started
from runtime.light_dataclasses import dataclass
from runtime.state_dir import StateDir
from runtime.whole_file import replace_file

_IDLE_S = 1800.0
_LOOK_S = 5.0
"""How often it is asked whether the server is still to be found, and whether it is used."""
_FIRST_PORT = 5000
_PORTS_TRIED = 20

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def main() -> int:
    os.umask(0o077)
    # uvicorn raises the signal again when it has shut down; the default would end us before the socket is taken away.
    signal.signal(signal.SIGTERM, lambda _signum, _frame: sys.exit(0))
    state = StateDir(Path(sys.argv[1])).ensure()
    lock = _the_lock(state)
    if lock is None:
        return 0
    private = _listen_private(state)
    place = _Place.of(state)
    port_socket = _listen_ui(state)
    _publish(state, port_socket)
    try:
        _prepare(state)
        asyncio.run(_serve(state, place, [sock for sock in (private, port_socket) if sock is not None]))
    finally:
        # While the lock is held, which went with the directory if that was removed.
        if place.is_ours():
            (state.mlflow / "server.sock").unlink(missing_ok=True)
            (state.mlflow / "server.json").unlink(missing_ok=True)
        os.close(lock)
    return 0


@dataclass(frozen=True, slots=True)
class _Place:
    """The name under which the server is found."""

    socket: Path
    found: tuple[int, int]

    @classmethod
    def of(cls, state: StateDir) -> _Place:
        path = state.mlflow / "server.sock"
        return cls(path, _identity(path))

    def is_ours(self) -> bool:
        """False once the directory was removed, whoever has made another one since."""
        try:
            return _identity(self.socket) == self.found
        except OSError:
            return False


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


class Guarded:
    """MLflow's application behind three things of ours: the UI's port is for this user only (and from containers, for who has the
    token), requests are noticed, and launches bring whole runs through the private socket."""

    def __init__(self, application: Application, runs: RunEndpoint | None = None, *, token_file: Path) -> None:
        self._application = application
        self._runs = runs
        self._token_file = token_file
        self._token = f"Bearer {_kept_token(token_file)}".encode()
        self.last_request = time.monotonic()
        self._allowed = allowed_users(os.environ)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.last_request = time.monotonic()
            if (refusal := self._refusal(scope)) is not None:
                await _refuse(scope, send, refusal)
                return
            if self._runs is not None and self._runs.is_for(scope) and _is_private(scope):
                await self._runs(scope, receive, send)
                return
        await self._application(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        """Why a request is not answered; None: it is."""
        if _is_private(scope) or self._has_token(scope):
            return None
        server, client = scope.get("server"), scope.get("client")
        peer = peer_of((client[0], client[1]), (server[0], server[1])) if server and client else None
        if peer is None or peer.uid not in self._allowed:
            return "this MLflow server belongs to another user of this machine, who can let you in (LAUNCH_UI_USERS)"
        if is_outside_containers(peer):
            return None
        own = "a run of launch logs through the MLFLOW_TRACKING_URI that it was given"
        return f"this seems to come from a container: it needs MLFLOW_TRACKING_TOKEN, which is in `{self._token_file}`; {own}"

    def _has_token(self, scope: Scope) -> bool:
        shown = dict(scope.get("headers") or ()).get(b"authorization", b"")
        return hmac.compare_digest(shown, self._token)


def _kept_token(file: Path) -> str:
    """The token of last time, or a new one."""
    with suppress(FileNotFoundError):
        if kept := file.read_text().strip():
            return kept
    token = os.urandom(24).hex()
    replace_file(file, f"{token}\n")
    return token


def _is_private(scope: Scope) -> bool:
    """Whether it came through the private socket, whose directory is 0700."""
    server = scope.get("server")
    return not server or server[1] is None


async def _refuse(scope: Scope, send: Send, refusal: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    words = f"{refusal}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(words)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": words})


def _the_lock(state: StateDir) -> int | None:
    """Become the one server; None when another process is it already (or becomes it just now)."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return open_locked(state.locks / "mlflow-server.lock", wait=False)
        except LockBusy:
            # Held by one that serves, or by one that is just ending: the latter's socket refuses, and we follow it.
            if is_up(state) or time.monotonic() > deadline:
                return None
        time.sleep(0.05)


def _listen_private(state: StateDir) -> socket.socket:
    path = state.mlflow / "server.sock"
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = os.open(state.mlflow, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    sock.listen(512)
    return sock


def _listen_ui(state: StateDir) -> socket.socket | None:
    """Loopback, on the port of last time if it is free; else on the first free one, which is kept for next time."""
    asked = os.environ.get("LAUNCH_UI_PORT")
    kept = state.mlflow / "ui_port"
    last = kept.read_text().strip() if kept.exists() else ""
    ports = [int(asked)] if asked else [int(last)] if last.isdigit() else []
    if not asked:
        ports += [*range(_FIRST_PORT, _FIRST_PORT + _PORTS_TRIED), 0]
    for port in ports:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(128)
        except OSError:
            sock.close()
            continue
        kept.write_text(str(sock.getsockname()[1]))
        return sock
    return None


def _publish(state: StateDir, port_socket: socket.socket | None) -> None:
    document = {
        "pid": os.getpid(),
        "started": process_started(os.getpid()),
        "ui_port": port_socket.getsockname()[1] if port_socket else None,
    }
    replace_file(state.mlflow / "server.json", json.dumps(document))


def _prepare(state: StateDir) -> None:
    """Settings that MLflow reads at import time, and the database."""
    database = state.mlflow / "mlflow.db"
    temporary = state.mlflow / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    os.environ.update(
        {
            # What `mlflow server` hands to its workers (mlflow/server/constants.py).
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
            "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{database}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": LocalAddress(state.root).artifacts.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            # Nine more processes and 1.6 GB otherwise.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            # MLflow locks its first migration through a file of a guessable name in the temporary directory.
            "TMPDIR": str(temporary),
        }
    )
    # A reader (the UI) doesn't stop a writer (a run), and a commit is one fsync fewer. The setting stays in the file.
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _open_stores(state: StateDir) -> None:
    """Make or upgrade the database now, so that the first request of a run doesn't wait for it."""
    from mlflow.server import handlers as untyped
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    # Runs are recorded in their directories; a power cut may cost the database its last commits, never its consistency.
    event.listen(Engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=NORMAL"))
    handlers: Any = untyped
    _upgrade_schema(state)
    handlers._get_tracking_store()
    handlers._get_model_registry_store()


def _upgrade_schema(state: StateDir) -> None:
    """Bring an older database up to this MLflow's schema, with a copy kept beside it."""
    from mlflow.store.db import utils as untyped

    utils: Any = untyped
    database = state.mlflow / "mlflow.db"
    engine = utils.create_sqlalchemy_engine_with_retry(f"sqlite:///{database}")
    try:
        found = utils._get_schema_version(engine)
        if found is None or found == utils._get_latest_schema_revision():
            return
        with sqlite3.connect(database) as source, sqlite3.connect(database.with_suffix(f".before-{found}.db")) as copy:
            source.backup(copy)
        utils._upgrade_db(engine)
    finally:
        engine.dispose()


async def _serve(state: StateDir, place: _Place, sockets: list[socket.socket]) -> None:
    from mlflow.server.fastapi_app import app
    from uvicorn import Config, Server

    _open_stores(state)
    database = state.mlflow / "mlflow.db"
    # Another layout of the tables is a newer MLflow's: launches go through its API then.
    runs = RunEndpoint(RunRows(database)) if is_known_layout(database) else None
    guarded = Guarded(app, runs, token_file=state.mlflow / "ui_token")
    config = Config(
        guarded, log_level="warning", access_log=False, timeout_keep_alive=60, timeout_graceful_shutdown=5, proxy_headers=False
    )
    server = Server(config)
    idle = asyncio.create_task(_stop_when_unused(state, place, guarded, server))
    try:
        await server.serve(sockets=sockets)
    finally:
        idle.cancel()


async def _stop_when_unused(state: StateDir, place: _Place, guarded: Guarded, server: Any) -> None:
    limit_s = float(os.environ.get("LAUNCH_MLFLOW_IDLE_S") or _IDLE_S)
    while place.is_ours():
        await asyncio.sleep(min(_LOOK_S, limit_s / 4))
        if time.monotonic() - guarded.last_request < limit_s:
            continue
        if await asyncio.to_thread(_a_run_is_tended, state):
            guarded.last_request = time.monotonic()
            continue
        break
    server.should_exit = True


def _a_run_is_tended(state: StateDir) -> bool:
    return any(is_locked(run / "supervisor.lock") for run in state.runs.iterdir())


if __name__ == "__main__":
    sys.exit(main())
