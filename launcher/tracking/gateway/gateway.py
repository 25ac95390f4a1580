"""The MLflow server that a program in a container sees: HTTP on a loopback port of its own network namespace.

Every request needs the run's token (with `network: host` others could reach the port). What may be asked is `gateway_api.py`
and `gateway_artifacts.py`; this file reads requests and writes answers. A thread a connection: a program has a few.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import socket
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.superseded import Superseded, Watch
from launcher.tracking.gateway import http_wire
from launcher.tracking.gateway.gateway_api import GatewayApi, not_open
from launcher.tracking.gateway.gateway_artifacts import GatewayArtifacts
from launcher.tracking.gateway.gateway_traces import GatewayTraces, is_trace_path
from launcher.tracking.gateway.http_wire import BadMessage, Head
from launcher.tracking.gateway.own_run import OwnRun, Rejected
from launcher.tracking.mlflow.connection import MlflowUnreachable, Reply
from launcher.tracking.mlflow.rest import API, ARTIFACTS, Mlflow, MlflowRefused
from launcher.tracking.mlflow.sink import Sink

_JSON_MAX = 8 << 20
_JSON_LARGE = 1 << 20
_IDLE_S = 300.0
_CONNECTIONS_MAX = 256
_FREE_S = 10.0
_DISCARDED_MAX = 64 << 20
_PASSED_ON = ("content-type", "content-disposition", "content-length")


class Gateway:
    """Serves one run's program on the listeners it is given."""

    def __init__(self, sink: Sink, own: OwnRun, token: str, *, watch: Watch | None = None) -> None:
        self._sink = sink
        self._watch = watch
        self._token = f"Bearer {token}"
        self._api = GatewayApi(sink, own)
        self._traces = GatewayTraces(self._api)
        self._artifacts = GatewayArtifacts(self._api, self._traces)
        self._is_closed = own.description.scope != "server"
        self._unknown = _UnknownClients()
        self._free = threading.BoundedSemaphore(_CONNECTIONS_MAX)

    def accept(self, listener: socket.socket) -> bool:
        """Answer, in a thread of its own, who connects to *listener*, which doesn't block. False when nobody can any more."""
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return True  # who was there has gone
        except OSError:
            return False
        self._unknown.add(connection)
        threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
        return True

    def _converse(self, connection: socket.socket) -> None:
        """One connection, request after request. It counts as one of the program's when it has shown the token."""
        client = Mlflow(self._sink.address, timeout_s=60.0, watch=self._watch)
        known = False
        stream = connection.makefile("rb", 65_536)
        try:
            connection.settimeout(_IDLE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (head := http_wire.read_head(stream)) is not None:
                body = _Body(connection, stream, head)
                if not known and self._has_token(head) and self._free.acquire(timeout=_FREE_S):
                    known = True
                    self._unknown.remove(connection)
                _write(connection, self._answer(head, body, client, known=known))
                if not body.is_finished:
                    # A client sends to the end before it reads: closed at once, it would see a reset instead of our refusal.
                    body.discard()
                    return
                if not head.keeps_alive:
                    return
        except Superseded:
            return  # the run goes on elsewhere: nothing that is said here counts
        except (OSError, BadMessage, MlflowUnreachable):
            return  # the program went away or broke its own message; a broken answer shows as a broken connection
        finally:
            client.close()
            self._unknown.remove(connection)
            stream.close()  # a body that was begun holds it, and with it the connection, until garbage is collected
            connection.close()
            if known:
                self._free.release()

    def _has_token(self, head: Head) -> bool:
        return hmac.compare_digest(head.headers.get("authorization", "").encode(), self._token.encode())

    def _answer(self, head: Head, body: _Body, client: Mlflow, *, known: bool) -> Reply:
        try:
            if not self._has_token(head):
                raise Rejected(401, "UNAUTHENTICATED", "the token is not this run's (MLFLOW_TRACKING_TOKEN)")
            if not known:
                raise Rejected(503, "TEMPORARILY_UNAVAILABLE", f"the program has {_CONNECTIONS_MAX} connections open already")
            return self._route(head, body, client)
        except Rejected as error:
            return _error(error.status, error.code, error.message)
        except MlflowUnreachable as error:
            return _error(503, "TEMPORARILY_UNAVAILABLE", error.message)
        except MlflowRefused as error:
            # With a 4xx the program's client shows these words; after a 5xx it tries again and shows others.
            return _error(error.status if 400 <= error.status < 500 else 400, error.code or "INVALID_STATE", error.message)
        except LaunchError as error:
            return _error(502, "INTERNAL_ERROR", error.message)
        except (OSError, BadMessage):
            raise
        except Exception as error:
            # A bug of ours must not look like a dead server to the program: an answer, and the traceback in supervisor.log.
            with contextlib.suppress(OSError), self._sink.run_dir.supervisor_log.open("a") as log:
                traceback.print_exc(file=log)
            return _error(500, "INTERNAL_ERROR", f"{type(error).__name__}: {error}")

    def _route(self, head: Head, body: _Body, client: Mlflow) -> Reply:
        if self._watch is not None:
            self._watch.check()
        method, target, _ = head.first
        path, _, query = target.partition("?")
        passing = _Forwarder(client, head)
        if path in ("/health", "/version"):
            return Reply(200, {"content-type": "text/plain"}, iter([b"OK"]))
        if path.startswith(f"{ARTIFACTS}/") and method == "PUT":
            return self._artifacts.put(path.removeprefix(f"{ARTIFACTS}/"), body.pieces(), body.length, passing.stream)
        if path.startswith(f"{ARTIFACTS}/") and method == "GET":
            return self._artifacts.get(path.removeprefix(f"{ARTIFACTS}/"), passing.stream)
        if path == ARTIFACTS and method == "GET":
            return self._artifacts.list_proxied(_query(query), passing.stream)
        if path == f"{API}artifacts/list" and method == "GET":
            return self._artifacts.list_of_run(_query(query), passing.stream)
        is_of_trace = self._is_closed and is_trace_path(path)
        if not is_of_trace and not path.startswith(API):
            return self._other(method, target, body, passing)
        given = _query(query) if method == "GET" else body.json()
        if is_of_trace:
            answer = self._traces.answer(method, path, given, passing.forward)
        else:
            answer = self._api.answer(method, path.removeprefix(API), given, passing.forward)
        return Reply(200, {"content-type": "application/json"}, iter([json.dumps(answer).encode()]))

    def _other(self, method: str, target: str, body: _Body, passing: _Forwarder) -> Reply:
        """Newer and other parts of MLflow's server (webhooks, ...): only for those who may use all of it."""
        if self._is_closed:
            raise not_open(method, target.partition("?")[0])
        self._api.flush()
        return passing.stream(method, self._api.translated(target), body.pieces(), body.length)


class _Forwarder:
    """Sends to the real server with its own credentials, never with the program's headers, but for the content's type."""

    def __init__(self, client: Mlflow, head: Head) -> None:
        self._client = client
        kind = head.headers.get("content-type")
        self._headers: Mapping[str, str] = {"Content-Type": kind} if kind else {}

    def forward(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        reply = self._client.send(method, path, headers={"Content-Type": "application/json"}, body=body)
        return reply.status, reply.content()

    def stream(self, method: str, path: str, body: Iterable[bytes], length: int | None) -> Reply:
        if length == 0:
            return self._client.send(method, path, headers=self._headers)
        # A body that comes from the program can be sent once only: never on a connection that may have been given up.
        self._client.close()
        pieces = iter(body)
        return self._client.send(method, path, headers=self._headers, body=lambda: pieces, length=length)


class _Body:
    """The request's body, read once."""

    def __init__(self, connection: socket.socket, stream: Any, head: Head) -> None:
        self._connection = connection
        self._stream = stream
        self._head = head
        self.length = None if "transfer-encoding" in head.headers else http_wire.length_of(head) or 0
        self.is_finished = self.length == 0
        self._begun: Iterator[bytes] | None = None

    def pieces(self) -> Iterator[bytes]:
        self._begun = self._begun or self._read()
        return self._begun

    def discard(self) -> None:
        """Read what is left, within reason."""
        left = _DISCARDED_MAX
        for piece in self.pieces():
            left -= len(piece)
            if left < 0:
                return

    def _read(self) -> Iterator[bytes]:
        if self._head.headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from http_wire.read_body(self._stream, self._head)
        self.is_finished = True

    def json(self) -> dict[str, Any]:
        content = bytearray()
        for piece in self.pieces():
            content += piece
            if len(content) > _JSON_MAX:
                raise Rejected(413, "INVALID_PARAMETER_VALUE", f"the request is larger than {_JSON_MAX} bytes")
        # Our memory is not the container's: a large document is read alone.
        with _one_large if len(content) > _JSON_LARGE else contextlib.nullcontext():
            try:
                document = json.loads(content) if content else {}
                if _ODD_LETTERS.search(content):
                    document = _mended(document)
            except (ValueError, RecursionError) as error:
                raise Rejected(400, "MALFORMED_REQUEST", "the request is not JSON") from error
        if not isinstance(document, dict):
            raise Rejected(400, "MALFORMED_REQUEST", "the request is not a JSON object")
        return document


_one_large = threading.Lock()

_ODD_LETTERS = re.compile(rb"\\u(0000|d[89a-f])", re.IGNORECASE)
"""What JSON can say and a database may not be able to hold: NUL, and halves of surrogate pairs."""


def _mended(value: Any) -> Any:
    """*value* with U+FFFD for such letters: asked to store one a server fails, and what comes behind it would never be sent."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_mended(name): _mended(item) for name, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list) else value


def _write(connection: socket.socket, reply: Reply) -> None:
    headers = {name: value for name, value in reply.headers.items() if name in _PASSED_ON}
    length = headers.pop("content-length", None)
    first = f"HTTP/1.1 {reply.status} {'OK' if reply.status < 400 else 'Error'}"
    if reply.status in (204, 304):
        for _ in reply.pieces:
            continue
        connection.sendall(f"{first}\r\n\r\n".encode())
        return
    if length is not None and length.isdigit():
        http_wire.send_message(connection, first, headers, reply.pieces, length=int(length))
    elif headers.get("content-type") == "application/json":
        http_wire.send_message(connection, first, headers, b"".join(reply.pieces))
    else:
        http_wire.send_message(connection, first, headers, reply.pieces)


def _error(status: int, code: str, message: str) -> Reply:
    content = json.dumps({"error_code": code, "message": message}).encode()
    return Reply(status, {"content-type": "application/json"}, iter([content]))


def _query(query: str) -> dict[str, Any]:
    from urllib.parse import parse_qs

    return {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}


_UNKNOWN_MAX = 64


class _UnknownClients:
    """Connections that have not shown the run's token yet: few, and the oldest makes room. Used by several threads.

    With `network: host` everybody on the machine can connect. Who says nothing, or says it slowly, must not keep the program from
    being heard: it shows its token with its first bytes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._waiting[connection] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > _UNKNOWN_MAX else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            # Its own thread closes it: it sees the end of the stream now.
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def remove(self, connection: socket.socket) -> None:
        """It has shown the token, or is gone."""
        with self._lock:
            self._waiting.pop(connection, None)
