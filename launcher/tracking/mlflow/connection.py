"""One kept connection to an MLflow server: a private unix socket, or http(s) through the caller's proxies and certificates.

Knows HTTP and nothing of MLflow (`rest.py`). A connection belongs to one thread. The socket speaks `http_wire.py`, which costs
the tracker of a local run nothing; any other server is asked by `runtime.http`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.tracking.gateway import http_wire
from launcher.tracking.mlflow.address import Address, LocalAddress, RemoteAddress
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from runtime.http.connections import Answer

Body = bytes | Callable[[], Iterable[bytes]]
"""A body, or what makes its pieces: called again when the request is sent again."""

# uvicorn drops an idle connection after 5 s, proxies after more: a younger one is taken to be alive.
_REUSE_S = 3.0


class MlflowUnreachable(LaunchError):
    """No answer from the server, or one that says `later`: worth trying again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose body is still on the wire: read `pieces` to its end, or `content()`."""

    status: int
    headers: dict[str, str]
    pieces: Iterator[bytes]

    def content(self) -> bytes:
        return b"".join(self.pieces)


class Connection:
    """Sends one request after the other to *address*, connecting when needed."""

    def __init__(self, address: Address, *, timeout_s: float, environ: Mapping[str, str] = os.environ) -> None:
        self.address = address
        self._link: _LocalLink | _RemoteLink
        if isinstance(address, LocalAddress):
            self._link = _LocalLink(address, timeout_s)
        else:
            self._link = _RemoteLink(address, timeout_s, environ)

    def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body = b"", length: int | None = None
    ) -> Reply:
        """Raises MlflowUnreachable when there is no answer."""
        try:
            return self._link.send(method, path, dict(headers), body, length)
        except (OSError, EOFError, http_wire.BadMessage) as error:
            raise MlflowUnreachable(f"cannot reach {self.address}: {error}{self._last_words()}", hint=_advice(error)) from error

    def _last_words(self) -> str:
        words = self.address.last_words() if isinstance(self.address, LocalAddress) else None
        return "" if words is None else f"; its log ends with `{words}`"

    def close(self) -> None:
        self._link.close()


def _advice(error: Exception) -> str | None:
    # By its name: only who speaks TLS loads `ssl`.
    if type(error).__name__ == "SSLCertVerificationError":
        return "MLFLOW_TRACKING_SERVER_CERT_PATH names the certificate of an authority of your own"
    return None


class _LocalLink:
    def __init__(self, address: LocalAddress, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._stream: Any = None
        self._used_at = 0.0

    def send(self, method: str, path: str, headers: dict[str, str], body: Body, length: int | None) -> Reply:
        reused = self._socket is not None and time.monotonic() - self._used_at < _REUSE_S
        if not reused:
            self.close()
        try:
            return self._exchange(method, path, headers, body, length)
        except (ConnectionError, http_wire.BadMessage):
            # A kept connection that the server had just given up: the request never arrived.
            if not reused:
                raise
        return self._exchange(method, path, headers, body, length)

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: Body, length: int | None) -> Reply:
        made = body() if callable(body) else body
        try:
            if self._socket is None:
                self._socket = connect_unix(self._address, timeout_s=self._timeout_s)
                self._stream = self._socket.makefile("rb", 65_536)
            http_wire.send_message(
                self._socket, f"{method} {path} HTTP/1.1", {"Host": "localhost"} | headers, made, length=length
            )
            head = http_wire.read_head(self._stream)
            if head is None:
                raise ConnectionResetError("connection closed without an answer")
            status = int(head.first[1])
        except BaseException:
            self.close()
            raise
        pieces = http_wire.read_body(self._stream, head, until_close=status not in (204, 304))
        return Reply(status, head.headers, self._to_the_end(pieces))

    def _to_the_end(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """An abandoned or broken body takes the connection with it: the rest would be read as the next response."""
        ended = False
        try:
            yield from _named(pieces, self._address)
            ended = True
        finally:
            self._used_at = time.monotonic()
            if not ended:
                self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._stream.close()
            self._socket.close()
            self._socket = None


def connect_unix(address: LocalAddress, *, timeout_s: float) -> socket.socket:
    """Connect to the local server. Raises OSError when nobody listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout_s)
        # LAUNCH_HOME may be longer than the 107 bytes of a unix address (unix(7)): go through the directory's descriptor.
        directory = os.open(address.socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{directory}/{address.socket.name}")
        finally:
            os.close(directory)
    except BaseException:
        sock.close()
        raise
    return sock


class _RemoteLink:
    def __init__(self, address: RemoteAddress, timeout_s: float, environ: Mapping[str, str]) -> None:
        from runtime.http.connections import Connections

        self._address = address
        self._connections = Connections(environ, timeout_s=timeout_s, tls=lambda _: _tls(environ), longest_idle_s=_REUSE_S)

    def send(self, method: str, path: str, headers: dict[str, str], body: Body, length: int | None) -> Reply:

        if self._address.authorization is not None:
            headers["Authorization"] = self._address.authorization
        if length is not None:
            headers["Content-Length"] = str(length)
        answer = self._connections.request(method, f"{self._address.uri}{path}", headers=headers, body=body)
        return Reply(answer.status, answer.all_headers(), _named(_pieces(answer), self._address))

    def close(self) -> None:
        self._connections.close()


def _pieces(answer: Answer) -> Iterator[bytes]:
    with answer:
        while piece := answer.read(262_144):
            yield piece


def _named(pieces: Iterator[bytes], address: Address) -> Iterator[bytes]:
    """*pieces* of a body; what breaks off names the server."""
    try:
        yield from pieces
    except (OSError, EOFError, http_wire.BadMessage) as error:
        raise MlflowUnreachable(f"{address} broke off within an answer: {error}") from error


def _tls(environ: Mapping[str, str]) -> Any:
    """TLS as MLflow's client (its variables) and requests (its) would do it."""
    import ssl

    authorities = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or environ.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context(
        cafile=authorities if authorities and os.path.isfile(authorities) else None,
        capath=authorities if authorities and os.path.isdir(authorities) else None,
    )
    if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    own = environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    if own:
        context.load_cert_chain(own)
    return context
