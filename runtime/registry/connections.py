"""HTTP connections that are kept and used again, through proxies, with TLS as `trust.py` says. No authentication, no retries.

A connection belongs to one request until its answer is read to the end; then any thread may have it. An answer that is closed
before its end takes its connection with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from runtime.errors import BadContent, Unsupported
from runtime.registry.proxies import proxy_for, shown
from runtime.registry.trust import tls_context

if TYPE_CHECKING:
    import http.client
    import ssl

Body = bytes | Iterable[bytes] | None
"""Bytes can be sent a second time; anything else is sent once, in chunks."""

_Key = tuple[str, str, str | None]


class Answer:
    """An answer whose body has not been read yet."""

    def __init__(self, url: str, response: http.client.HTTPResponse, connections: Connections, key: _Key) -> None:
        self.url = url
        self.status = response.status
        self._response = response
        self._connections = connections
        self._key: _Key | None = key
        self._connection: http.client.HTTPConnection | None = None

    def header(self, name: str) -> str | None:
        return self._response.getheader(name)

    def headers(self, name: str) -> list[str]:
        """All values of a header that may stand there more than once."""
        return self._response.headers.get_all(name) or []

    @property
    def length(self) -> int | None:
        """Bytes that are still to come, when the server has said."""
        return self._response.length

    def read(self, size: int) -> bytes:
        """Up to *size* bytes; empty at the end. Raises IncompleteRead when the connection ends before the body does."""
        import http.client

        data = self._response.read(size)
        if not data and size:
            if self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
            self._release()
        elif self._response.isclosed():
            self._release()
        return data

    def read_all(self, limit: int, what: str) -> bytes:
        """The whole body. Raises BadContent when it has more than *limit* bytes."""
        pieces: list[bytes] = []
        left = limit
        while piece := self.read(min(1 << 18, left + 1)):
            left -= len(piece)
            if left < 0:
                self.close()
                raise BadContent(f"{what} has more than {limit} bytes, which is not taken")
            pieces.append(piece)
        return b"".join(pieces)

    def discard(self) -> None:
        """Have done with it; a short body is read so that the connection can be used again."""
        if self._key is not None and (self._response.length is None or self._response.length > 1 << 16):
            self.close()
        while self._key is not None and self.read(1 << 16):
            pass

    def close(self) -> None:
        self._key = None
        self._response.close()
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _holds(self, connection: http.client.HTTPConnection) -> Answer:
        self._connection = connection
        if self._response.isclosed():  # HEAD, 204: there is no body
            self._release()
        return self

    def _release(self) -> None:
        if self._key is not None and self._connection is not None:
            self._connections._keep(self._key, self._connection)
        self._key = self._connection = None


class Connections:
    """The kept connections. Safe to share between threads."""

    def __init__(self, environ: Mapping[str, str], *, timeout_s: float, insecure_host: str | None = None) -> None:
        """*insecure_host* (`HOST[:PORT]`) is believed without a known certificate; where it sends us is not."""
        self._environ = environ
        self._timeout_s = timeout_s
        self._insecure_host = insecure_host
        self._lock = threading.Lock()
        self._idle: dict[_Key, list[http.client.HTTPConnection]] = {}
        self._tls: dict[str, ssl.SSLContext] = {}

    def request(self, method: str, url: str, *, headers: Mapping[str, str], body: Body = None) -> Answer:
        """Send a request. Raises OSError or HTTPException when there is no answer."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unsupported(f"cannot ask `{shown(url)}`: only http and https addresses are supported")
        proxy = proxy_for(parts, self._environ)
        key = (parts.scheme, parts.netloc, proxy)
        target, extra = _target(parts, proxy)
        headers = {"User-Agent": "launch", **extra, **headers}
        kept = self._take(key)
        if kept is not None:
            try:
                return self._exchange(kept, key, method, url, target, headers, body)
            except ConnectionError:
                # The server has closed it in the meantime (http.client.RemoteDisconnected is a ConnectionError).
                if not isinstance(body, bytes | None):
                    raise
        return self._exchange(self._connect(parts, proxy), key, method, url, target, headers, body)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        key: _Key,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
    ) -> Answer:
        try:
            try:
                connection.request(method, target, body=body, headers=headers)
            except (BrokenPipeError, ConnectionResetError) as error:
                # Refused while the body was under way: the answer that says why may be there.
                response = _early_answer(connection, error)
            else:
                response = connection.getresponse()
            return Answer(url, response, self, key)._holds(connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the idle ones."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _take(self, key: _Key) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _keep(self, key: _Key, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:  # the answer said `Connection: close`
            return
        with self._lock:
            self._idle.setdefault(key, []).append(connection)

    def _connect(self, parts: SplitResult, proxy: str | None) -> http.client.HTTPConnection:
        import http.client

        host, timeout = parts.hostname or "", self._timeout_s
        if proxy is None:
            if parts.scheme == "http":
                return http.client.HTTPConnection(host, parts.port, timeout=timeout)
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=self._context(parts.netloc))
        via = urlsplit(proxy)
        if via.scheme not in ("http", "https"):
            raise Unsupported(f"proxy `{shown(proxy)}` is not supported: only http proxies are")
        if parts.scheme == "http":
            if via.scheme == "http":
                return http.client.HTTPConnection(via.hostname or "", via.port or 80, timeout=timeout)
            return http.client.HTTPSConnection(
                via.hostname or "", via.port, timeout=timeout, context=self._context(via.netloc.rpartition("@")[2])
            )
        if via.scheme == "https":
            raise Unsupported(f"proxy `{shown(proxy)}` is spoken to with TLS, which is not supported for https addresses")
        tunnel = http.client.HTTPSConnection(
            via.hostname or "", via.port or 80, timeout=timeout, context=self._context(parts.netloc)
        )
        tunnel.set_tunnel(host, parts.port or 443, headers=_proxy_login(via))
        return tunnel

    def _context(self, netloc: str) -> ssl.SSLContext:
        with self._lock:
            if netloc not in self._tls:
                self._tls[netloc] = tls_context(netloc, self._environ, verify=netloc != self._insecure_host)
            return self._tls[netloc]


def basic(user: str, password: str) -> str:
    """The value of an `Authorization` header."""
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _early_answer(connection: http.client.HTTPConnection, error: Exception) -> http.client.HTTPResponse:
    try:
        return connection.getresponse()
    except Exception:
        raise error from None


def _target(parts: SplitResult, proxy: str | None) -> tuple[str, dict[str, str]]:
    """What stands in the request line, and the proxy's login where we talk to the proxy itself."""
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    if proxy is None or parts.scheme == "https":
        return path, {}
    return urlunsplit(("http", parts.netloc, parts.path or "/", parts.query, "")), _proxy_login(urlsplit(proxy))


def _proxy_login(via: SplitResult) -> dict[str, str]:
    if via.username is None:
        return {}
    return {"Proxy-Authorization": basic(unquote(via.username), unquote(via.password or ""))}
