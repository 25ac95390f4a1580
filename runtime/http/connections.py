"""HTTP connections that are kept and used again, through proxies, with TLS as the caller trusts. No retries: `client.py`.

A connection belongs to one request until its answer is read to the end; then any thread may have it. An answer that is closed
before its end takes its connection with it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from runtime.errors import BadContent, Unsupported
from runtime.http.proxies import proxy_for, redact_url

if TYPE_CHECKING:
    import http.client
    import ssl

Body = bytes | Iterable[bytes] | Callable[[], Iterable[bytes]] | None
"""Bytes, and what makes the pieces anew, can be sent a second time; an iterable is sent once. Pieces go in chunks."""

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

    def all_headers(self) -> dict[str, str]:
        """Name in lower case → value; the last, where there are several."""
        return {name.lower(): value for name, value in self._response.getheaders()}

    @property
    def length(self) -> int | None:
        """Bytes that are still to come, when the server has said."""
        return self._response.length

    def read(self, size: int) -> bytes:
        """Up to *size* bytes; empty at the end. Raises OSError when the connection ends before the body does."""
        with _as_connection_errors():
            data = self._response.read(size)
        if not data and size:
            if self._response.length:
                raise ConnectionResetError(f"the connection ended {self._response.length} bytes early")
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

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        timeout_s: float,
        tls: Callable[[str], ssl.SSLContext],
        longest_idle_s: float = math.inf,
    ) -> None:
        """*environ* names the proxies, *tls* makes what TLS to a host (`HOST[:PORT]`) is spoken with. A connection that was idle
        for longer than *longest_idle_s* is not used again."""
        self._environ = environ
        self._timeout_s = timeout_s
        self._make_tls = tls
        self._longest_idle_s = longest_idle_s
        self._lock = threading.Lock()
        self._idle: dict[_Key, list[tuple[float, http.client.HTTPConnection]]] = {}
        self._tls: dict[str, ssl.SSLContext] = {}

    def request(self, method: str, url: str, *, headers: Mapping[str, str], body: Body = None) -> Answer:
        """Send a request; a login in *url* goes with it. Raises OSError when there is no answer."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unsupported(f"cannot ask `{redact_url(url)}`: only http and https addresses are supported")
        proxy = proxy_for(parts, self._environ)
        key = (parts.scheme, host_of(url), proxy)
        target, extra = _target(parts, proxy)
        headers = {"User-Agent": "launch", **_login(parts, "Authorization"), **extra, **headers}
        kept = self._take(key)
        if kept is not None:
            try:
                return self._exchange(kept, key, method, url, target, headers, body)
            except ConnectionError:
                # The server has closed it in the meantime.
                if not can_repeat(body):
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
            with _as_connection_errors():
                try:
                    connection.request(method, target, body=body() if callable(body) else body, headers=headers)
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
            for _, connection in connections:
                connection.close()

    def _take(self, key: _Key) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:
                since, connection = idle.pop()
                if time.monotonic() - since <= self._longest_idle_s:
                    return connection
                connection.close()
            return None

    def _keep(self, key: _Key, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:  # the answer said `Connection: close`
            return
        with self._lock:
            self._idle.setdefault(key, []).append((time.monotonic(), connection))

    def _connect(self, parts: SplitResult, proxy: str | None) -> http.client.HTTPConnection:
        import http.client

        host, port = parts.hostname or "", parts.port
        via = None if proxy is None else urlsplit(proxy)
        if via is not None:
            if via.scheme not in ("http", "https"):
                raise Unsupported(f"proxy `{redact_url(proxy or '')}` is not supported: only http proxies are")
            if parts.scheme == via.scheme == "https":
                raise Unsupported(
                    f"proxy `{redact_url(proxy or '')}` is spoken to with TLS, which is not supported for https addresses"
                )
            host, port = via.hostname or "", via.port or (443 if via.scheme == "https" else 80)
        if parts.scheme == "http" and (via is None or via.scheme == "http"):
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        # TLS ends at the host itself, also behind a proxy's tunnel; or at the proxy, which speaks plain HTTP to the host.
        ends_at = proxy if proxy is not None and parts.scheme == "http" else parts.geturl()
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context(host_of(ends_at)))
        if via is not None and parts.scheme == "https":
            connection.set_tunnel(parts.hostname or "", parts.port or 443, headers=_login(via, "Proxy-Authorization"))
        return connection

    def _context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._tls:
                self._tls[host] = self._make_tls(host)
            return self._tls[host]


@contextmanager
def _as_connection_errors() -> Iterator[None]:
    """What is no HTTP becomes an OSError, as everything else is that a connection can do to us."""
    import http.client

    try:
        yield
    except http.client.HTTPException as error:
        raise ConnectionResetError(str(error) or type(error).__name__) from error


def can_repeat(body: Body) -> bool:
    """Whether *body* can be sent a second time."""
    return body is None or isinstance(body, bytes) or callable(body)


def host_of(url: str) -> str:
    """`HOST[:PORT]` of *url*, without a login."""
    return urlsplit(url).netloc.rpartition("@")[2]


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
    return f"http://{parts.netloc.rpartition('@')[2]}{path}", _login(urlsplit(proxy), "Proxy-Authorization")


def _login(parts: SplitResult, header: str) -> dict[str, str]:
    """The login that an address has in it (`http://USER:PASSWORD@HOST`), as *header*."""
    if parts.username is None:
        return {}
    return {header: basic(unquote(parts.username), unquote(parts.password or ""))}
