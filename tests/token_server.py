"""A token service for `docker-registry` (distribution, "Token Authentication Specification"): RS256, certificate in `x5c`."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry_server import RegistryServer


@dataclass
class TokenServer:
    """Gives tokens to *users*; to anybody for pulling what is below `public/`."""

    directory: Path
    users: dict[str, str] = field(default_factory=lambda: {"ci": "s3cret"})
    identity_tokens: dict[str, str] = field(default_factory=lambda: {"refresh-me": "ci"})
    """Token → user."""
    lives_s: int = 300
    """What tokens say of themselves."""
    ends_after_s: int = 300
    """What is true."""
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    port: int = 0

    @property
    def auth(self) -> str:
        realm = f"http://127.0.0.1:{self.port}/token"
        return f"token: {{realm: '{realm}', service: test, issuer: test, rootcertbundle: {self.directory}/cert.pem}}"

    def make_key(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
                *("-keyout", str(self.directory / "key.pem"), "-out", str(self.directory / "cert.pem")),
            ],
            check=True,
            capture_output=True,
        )

    def token(self, user: str, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [action for action in actions.split(",") if user or (action == "pull" and name.startswith("public/"))]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        certificate = "".join((self.directory / "cert.pem").read_text().split("-----")[2].split())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        claims = {"iss": "test", "sub": user, "aud": "test", "nbf": now - 5, "iat": now, "exp": now + self.ends_after_s}
        signed = f"{_encoded(header)}.{_encoded({**claims, 'jti': uuid.uuid4().hex, 'access': access})}"
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.directory / "key.pem")],
            input=signed.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{signed}.{_base64(signature)}"

    def user_of(self, authorization: str) -> str | None:
        """Who asks; "" is nobody in particular, None somebody with a wrong password."""
        if not authorization:
            return ""
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return user if self.users.get(user) == password else None


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _encoded(document: dict[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    """A token service for the body."""
    tokens = TokenServer(directory)
    tokens.make_key()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fields = parse_qs(urlsplit(self.path).query)
            tokens.asked.append(fields)
            self._answer(tokens.user_of(self.headers.get("Authorization", "")), fields.get("scope", []))

        def do_POST(self) -> None:
            fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.asked.append(fields)
            user = tokens.identity_tokens.get(fields.get("refresh_token", [""])[0])
            self._answer(user, " ".join(fields.get("scope", [])).split())

        def _answer(self, user: str | None, scopes: list[str]) -> None:
            status, body = 401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}'
            if user is not None:
                status = 200
                body = json.dumps({"token": tokens.token(user, scopes), "expires_in": tokens.lives_s}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def registry_with_tokens(directory: Path) -> Iterator[tuple[RegistryServer, TokenServer]]:
    """A registry that wants tokens, and who gives them."""
    with token_server(directory / "tokens") as tokens:
        server = RegistryServer(directory, auth=tokens.auth)
        server.start()
        try:
            yield server, tokens
        finally:
            server.stop()
