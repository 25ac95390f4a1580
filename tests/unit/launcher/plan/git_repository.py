"""A git repository made by a test, with the real git."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WHO = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@test",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """In the new directory *root*."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"git+file://{self.root}"

    def git(self, *words: str) -> str:
        env = {**os.environ, **WHO}
        argv = ["git", "-c", "protocol.file.allow=always", *words]
        return subprocess.run(argv, cwd=self.root, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: Mapping[str, str]) -> str:
        """Write *files* and commit them; the commit."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")
        return self.git("rev-parse", "HEAD")


class _PrivateServer(BaseHTTPRequestHandler):
    """The repository over git's plain HTTP, for whoever knows the password."""

    root: Path

    def do_GET(self) -> None:
        path = self.root / self.path.partition("?")[0].strip("/")
        allowed = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:s3cret").decode()
        code = 401 if not allowed else 200 if path.is_file() else 404
        content = path.read_bytes() if code == 200 else b""
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        """Quiet."""


@contextmanager
def served_privately(repository: Repository) -> Iterator[str]:
    """`host:port` of a server that has *repository* as `/.git`, for the user `me` with the password `s3cret`."""
    repository.git("update-server-info")
    _PrivateServer.root = repository.root
    server = ThreadingHTTPServer(("127.0.0.1", 0), _PrivateServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
