"""The local server's socket with something before it: a launch of last year, or a line that breaks at the worst moment."""

from __future__ import annotations

import shutil
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import Connection
from runtime.state_dir import StateDir


class Older(ThreadingUnixStreamServer):
    """Passes requests of *state*'s launches on to the server of *behind*. *loses*: answers to whole runs that never arrive."""

    daemon_threads = True

    def __init__(self, state: StateDir, behind: StateDir, *, knows_whole_runs: bool = False, loses: int = 0) -> None:
        state.mlflow.mkdir(parents=True, exist_ok=True)
        self.behind, self.knows_whole_runs, self.loses = LocalAddress(behind.root), knows_whole_runs, loses
        self.asked: list[str] = []
        super().__init__(str(LocalAddress(state.root).socket), _Handler)
        # Artifacts are put into a directory of the server's: it is the same one, and made with the first artifact of anybody's.
        self.behind.artifacts.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(state.mlflow / "artifacts", ignore_errors=True)
        (state.mlflow / "artifacts").symlink_to(self.behind.artifacts)
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *failure: object) -> None:
        self.shutdown()
        super().__exit__(*failure)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Older

    def _pass(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = self.path.startswith("/launch/")
        self.server.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        if whole and not self.server.knows_whole_runs:
            return self._answer(404, b"<html>not found</html>")
        connection = Connection(self.server.behind, timeout_s=30)
        reply = connection.request(self.command, self.path, headers={"Content-Type": "application/json"}, body=content)
        content = reply.content()
        connection.close()
        if whole and self.server.loses:
            self.server.loses -= 1
            self.close_connection = True
            return None
        return self._answer(reply.status, content)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = _pass

    def log_message(self, *_: Any) -> None:
        return
