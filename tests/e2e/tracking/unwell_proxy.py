"""A proxy before a real MLflow server, which can be slow, lose answers, fail or be gone."""

from __future__ import annotations

import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Between:
    """A proxy before the real server, which behaves as `how` says."""

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.how = "well"
        self.slow_s = 3.0
        self.is_released = threading.Event()
        """Whoever is slow need not be any more."""
        host = urlsplit(upstream).netloc
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                how = between.how
                if how in ("gone", "failing"):
                    self.close_connection = how == "gone"
                    return None if how == "gone" else self._answer(500, b"<html>out of order</html>")
                if how == "slow":
                    between.is_released.wait(between.slow_s)
                connection = http.client.HTTPConnection(host, timeout=60)
                kind = self.headers.get("Content-Type")
                connection.request(self.command, self.path, content, {"Content-Type": kind} if kind else {})
                reply = connection.getresponse()
                self.close_connection = how == "deaf"  # the request arrived, its answer never does
                return None if how == "deaf" else self._answer(reply.status, reply.read())

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = _pass

            def log_message(self, *_: Any) -> None:
                return

        class Listening(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that gave up

        self._listening = Listening(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._listening.socket = tls.wrap_socket(self._listening.socket, server_side=True)
        self.uri = f"http{'s' if tls else ''}://localhost:{self._listening.server_address[1]}"
        threading.Thread(target=self._listening.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown()
        self._listening.server_close()
