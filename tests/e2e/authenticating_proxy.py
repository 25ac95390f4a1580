"""An MLflow server behind a password: a proxy on loopback in front of a real one."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def authenticating_proxy(upstream: str, *, user: str, password: str) -> Iterator[str]:
    """The address of a server that is *upstream* for who knows the password, and answers 401 to everybody else."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    host = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != expected:
                self._answer(401, "text/plain", b"who are you?")
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            kind = self.headers.get("Content-Type")
            connection.request(self.command, self.path, content, {"Content-Type": kind} if kind else {})
            reply = connection.getresponse()
            self._answer(reply.status, reply.getheader("Content-Type", "text/plain"), reply.read())
            connection.close()

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = _pass

        def log_message(self, *_: Any) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
