"""A registry as the distribution-spec means it, in memory: an upload whose connection broke can be gone on with.

Distribution's own server cannot (it gives such an upload up), and Debian has no other one.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class ResumableRegistry(ThreadingHTTPServer):
    """`blobs`, `manifests` and what was sent of unfinished `uploads`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.begun = 0
        """How many uploads there were."""
        self.forgets = False
        """Whether it knows nothing of an upload that broke."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what it is there for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ResumableRegistry

    def do_GET(self) -> None:
        where = urlsplit(self.path).path
        if "/blobs/uploads/" in where:
            self._progress(204, where.rpartition("/")[2])
        elif where == "/v2/":
            self._answer(200, b"{}")
        else:
            kept = {**self.server.blobs, **self.server.manifests}.get(where.rpartition("/")[2])
            self._answer(404 if kept is None else 200, kept or b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        name = uuid.uuid4().hex
        self._body(bytearray())
        self.server.uploads[name] = bytearray()
        self.server.begun += 1
        self._progress(202, name)

    def do_PATCH(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        upload = self.server.uploads.get(name)
        if upload is None:
            self._body(bytearray())
            return self._answer(404)
        begins = self.headers.get("Content-Range")
        if begins is not None and int(begins.partition("-")[0]) != len(upload):
            self._body(bytearray())
            return self._progress(416, name)
        try:
            self._body(upload)
        except BaseException:
            if self.server.forgets:
                self.server.uploads.pop(name, None)
            raise
        return self._progress(202, name)

    def do_PUT(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.rpartition("/")[2]
        content = bytearray()
        self._body(content)
        if "/manifests/" in parts.path:
            self.server.manifests[name] = bytes(content)
            return self._answer(201)
        whole = bytes(self.server.uploads.pop(name) + content)
        digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
        if parse_qs(parts.query)["digest"] != [digest]:
            return self._answer(400)
        self.server.blobs[digest] = whole
        return self._answer(201)

    def do_DELETE(self) -> None:
        self.server.uploads.pop(urlsplit(self.path).path.rpartition("/")[2], None)
        self._answer(204)

    def _body(self, into: bytearray) -> None:
        """Read the request's body into *into*, as far as it comes. Raises IncompleteRead when it ends before its end."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            self._read(int(self.headers.get("Content-Length") or 0), into)
            return
        while True:
            line = self.rfile.readline()
            if not line.strip():
                raise http.client.IncompleteRead(b"")
            size = int(line, 16)
            self._read(size, into)
            self.rfile.readline()
            if size == 0:
                return

    def _read(self, size: int, into: bytearray) -> None:
        while size > 0:
            data = self.rfile.read1(min(size, 1 << 16))  # type: ignore[attr-defined]
            if not data:
                raise http.client.IncompleteRead(b"", size)
            into += data
            size -= len(data)

    def _progress(self, status: int, name: str) -> None:
        upload = self.server.uploads.get(name)
        if upload is None:
            return self._answer(404)
        held = {"Range": f"0-{len(upload) - 1}"} if upload else {}
        return self._answer(status, headers={"Location": f"{self.path.partition('/blobs/')[0]}/blobs/uploads/{name}", **held})

    def _answer(self, status: int, content: bytes = b"", *, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": "0" if status == 204 else str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def resumable_registry() -> Iterator[ResumableRegistry]:
    """A server for the body."""
    server = ResumableRegistry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            server.shutdown()
            server.server_close()
