"""A registry in memory, on loopback, that misbehaves as it is told: the wire is real, so is the HTTP."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from runtime.oci.digest import Digest, canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, LAYER, MANIFEST

Fault = Callable[["Request"], bool]
"""Answers a request, or lets it through (False)."""


@dataclass
class Request:
    """One request, and the ways to answer it badly."""

    handler: BaseHTTPRequestHandler
    method: str
    path: str
    headers: Mapping[str, str]

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, length: int | None = None) -> None:
        self.handler.send_response(status)
        for name, value in (headers or {}).items():
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(len(body) if length is None else length))
        self.handler.end_headers()
        if self.method != "HEAD":
            self.handler.wfile.write(body)

    def reset(self) -> None:
        """End the connection as a broken one ends: with RST."""
        self.handler.wfile.flush()
        time.sleep(0.1)  # what hasn't been read when RST arrives is lost
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        # The server's own shutdown would say FIN first.
        self.handler.connection.close()


@dataclass
class LoopbackRegistry:
    """What it holds, what it does wrong, and what it was asked."""

    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    """(repository, tag or digest) → media type, content"""
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    """(a part of the path, what happens): each once, in order."""
    rules: list[tuple[str, Fault]] = field(default_factory=list)
    """The same, but always."""
    requests: list[Request] = field(default_factory=list)
    ranges: bool = True
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def paths(self, part: str = "") -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests if part in request.path]

    def put_manifest(self, repository: str, tag: str, document: Mapping[str, Any], media_type: str = MANIFEST) -> Digest:
        content = canonical_json(document)
        digest = digest_bytes(content)
        self.manifests[repository, tag] = self.manifests[repository, digest] = (media_type, content)
        return digest

    def put_blob(self, content: bytes) -> dict[str, Any]:
        digest = digest_bytes(content)
        self.blobs[digest] = content
        return {"digest": digest, "size": len(content)}

    def put_image(self, repository: str, tag: str, *layers: bytes, **changes: Any) -> Digest:
        """An image of plain *layers*; *changes* go into its configuration."""
        config = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["PATH=/bin", "X=1"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_bytes(layer) for layer in layers]},
            **changes,
        }
        return self.put_manifest(
            repository,
            tag,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, **self.put_blob(canonical_json(config))},
                "layers": [{"mediaType": LAYER, **self.put_blob(layer)} for layer in layers],
            },
        )

    def serve(self, request: Request) -> None:
        self.requests.append(request)
        if not self._misbehaves(request):
            self._answer(request)

    def _misbehaves(self, request: Request) -> bool:
        for position, (part, fault) in enumerate(self.faults):
            if part in request.path:
                del self.faults[position]
                if fault(request):
                    return True
                break
        return any(part in request.path and rule(request) for part, rule in self.rules)

    def _answer(self, request: Request) -> None:
        below = request.path.partition("?")[0].removeprefix("/v2/")
        repository, _, name = below.rpartition("/")
        repository, _, kind = repository.rpartition("/")
        if not below:
            request.answer(200, b"{}")
        elif kind == "manifests" and (repository, name) in self.manifests:
            media_type, content = self.manifests[repository, name]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_bytes(content)}
            request.answer(200, content, headers)
        elif kind == "blobs" and name in self.blobs:
            self._blob(request, self.blobs[name])
        else:
            request.answer(404, errors(f"{kind.upper()[:-1]}_UNKNOWN", "unknown to this registry"))

    def _blob(self, request: Request, content: bytes) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        if start and self.ranges:
            total = len(content)
            request.answer(206, content[start:], {"Content-Range": f"bytes {start}-{total - 1}/{total}"})
        else:
            request.answer(200, content)


def errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@contextmanager
def loopback_registry(*, certificate: Path | None = None) -> Iterator[LoopbackRegistry]:
    """A registry for the body; with *certificate* (key included) it speaks TLS."""
    registry = LoopbackRegistry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            try:
                registry.serve(Request(self, self.command, self.path, dict(self.headers)))
            except OSError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
