"""Fetch files of an archive: http(s) over kept connections, through proxies, or from a local directory (`file:`).

One connection a thread and host, since resolvers drop bursts of look-ups and a TLS handshake costs more than a small .deb.
Nothing here is trusted: callers check hashes. What a file *is* is the business of `release.py` and `fetch.py`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from runtime.build.debian.apt_conf import Proxies, find_proxies, read_apt_conf
from runtime.errors import BadContent, NetworkError, Unsupported

if TYPE_CHECKING:
    import http.client
    import ssl

_ATTEMPTS = 4
_TIMEOUT_S = 30.0
_CHUNK = 1 << 17
_REDIRECTS = (301, 302, 303, 307, 308)


class NotThere(NetworkError):
    """The archive answered that it has no such file."""


class ArchiveClient:
    """Gets bytes by address. Safe to share between threads."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._connections = threading.local()
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def get(self, url: str, *, limit: int, progress: Callable[[int], None] | None = None) -> bytes:
        """The file at *url*, of at most *limit* bytes. *progress* gets the size of each piece as it comes.

        Raises NotThere for 404 and 410, NetworkError when it cannot be had after some attempts.
        """
        parts = urlsplit(url)
        if parts.scheme in ("file", "copy"):
            return _read_local(unquote(parts.path), url, limit=limit, progress=progress)
        if parts.scheme not in ("http", "https"):
            raise Unsupported(f"cannot fetch `{shown(url)}`: only http, https and file addresses are supported")
        failure: Exception | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(0.3 * 3 ** (attempt - 1))
            try:
                return self._get_following(url, limit=limit, progress=progress)
            except (NotThere, BadContent, Unsupported):
                raise
            except Exception as error:
                if not _worth_another_try(error):
                    raise
                failure = error
                self._drop_connections()
        raise NetworkError(
            f"cannot fetch `{shown(url)}`: {_reason(failure)}",
            hint=_proxy_hint(self._proxies.for_url(url)),
        ) from failure

    def chunks(self, url: str, *, size: Callable[[int | None], None] | None = None) -> Iterator[bytes]:
        """The file at *url* in pieces, for what may be large; one attempt. *size* is told the announced length first.

        Raises NotThere and NetworkError as `get` does; whoever takes the pieces checks their digest.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise Unsupported(f"cannot fetch `{shown(url)}`: only http and https addresses are supported")
        try:
            response = self._answer(url)
            if size is not None:
                size(response.length)
            while piece := response.read(_CHUNK):
                yield piece
            if response.length:  # read(n) takes an early end for the end
                raise ConnectionResetError(f"the connection ended {response.length} bytes early")
        except (NotThere, BadContent, Unsupported, NetworkError):
            self._drop_connections()
            raise
        except Exception as error:
            self._drop_connections()
            if not _worth_another_try(error):
                raise
            raise NetworkError(f"cannot fetch `{shown(url)}`: {_reason(error)}") from error

    def _get_following(self, url: str, *, limit: int, progress: Callable[[int], None] | None) -> bytes:
        return _read_body(self._answer(url), url, limit=limit, progress=progress)

    def _answer(self, url: str) -> http.client.HTTPResponse:
        """The answer that has the file, after all redirects."""
        target = url
        for _ in range(6):
            response = self._request(target)
            if response.status in _REDIRECTS and response.getheader("Location"):
                location = urljoin(target, response.getheader("Location") or "")
                response.read()
                if urlsplit(target).scheme == "https" and urlsplit(location).scheme != "https":
                    raise NetworkError(f"`{shown(target)}` redirects from https to `{shown(location)}`, which is refused")
                target = location
                continue
            if response.status == 200:
                return response
            response.read()
            if response.status in (404, 410):
                raise NotThere(f"`{shown(url)}` does not exist (HTTP {response.status})")
            raise _HttpStatus(response.status, response.reason)
        raise NetworkError(f"`{shown(url)}` redirects too often")

    def _request(self, url: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        proxy = self._proxies.for_url(url)
        connection = self._connection(parts, proxy)
        headers = {"User-Agent": "launch", "Accept": "*/*", "Host": parts.netloc.rpartition("@")[2]}
        if parts.username is not None:
            headers["Authorization"] = _basic(parts.username, parts.password)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if proxy is not None and parts.scheme == "http":
            path = urlunsplit(("http", headers["Host"], parts.path or "/", parts.query, ""))
            via = urlsplit(proxy)
            if via.username is not None:
                headers["Proxy-Authorization"] = _basic(via.username, via.password)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def _connection(self, parts: SplitResult, proxy: str | None) -> http.client.HTTPConnection:
        known: dict[tuple[str, str, str | None], http.client.HTTPConnection] | None
        known = getattr(self._connections, "known", None)
        if known is None:
            known = self._connections.known = {}
        key = (parts.scheme, parts.netloc, proxy)
        if key not in known:
            known[key] = self._connect(parts, proxy)
        return known[key]

    def _connect(self, parts: SplitResult, proxy: str | None) -> http.client.HTTPConnection:
        import http.client

        host = parts.hostname or ""
        if proxy is None:
            if parts.scheme == "http":
                return http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT_S)
            return http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT_S, context=self._tls_context())
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if via.scheme not in ("http", "https"):
            raise Unsupported(f"proxy `{shown(proxy)}` is not supported: only http proxies are")
        if parts.scheme == "http":
            if via.scheme == "https":
                return http.client.HTTPSConnection(via.hostname or "", via.port, timeout=_TIMEOUT_S, context=self._tls_context())
            return http.client.HTTPConnection(via.hostname or "", via.port, timeout=_TIMEOUT_S)
        tunnel = http.client.HTTPSConnection(via.hostname or "", via.port, timeout=_TIMEOUT_S, context=self._tls_context())
        headers = {"Proxy-Authorization": _basic(via.username, via.password)} if via.username is not None else {}
        tunnel.set_tunnel(host, parts.port or 443, headers=headers)
        return tunnel

    def _tls_context(self) -> ssl.SSLContext:
        import ssl

        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()  # SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own way to a company CA
            return self._tls

    def _drop_connections(self) -> None:
        known: dict[object, http.client.HTTPConnection] = getattr(self._connections, "known", {})
        for connection in known.values():
            connection.close()
        known.clear()


class _HttpStatus(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status} {reason}".strip())
        self.status = status


def archive_client(environ: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> ArchiveClient:
    """A client with the proxies of *environ* and of the apt below *root*."""
    return ArchiveClient(find_proxies(environ, apt_settings=read_apt_conf(root)))


def shown(url: str) -> str:
    """*url* without a password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


def _read_body(response: http.client.HTTPResponse, url: str, *, limit: int, progress: Callable[[int], None] | None) -> bytes:
    import http.client

    pieces: list[bytes] = []
    size = 0
    while piece := response.read(_CHUNK):
        size += len(piece)
        if size > limit:
            response.close()
            raise BadContent(f"`{shown(url)}` is larger than the {limit} bytes that were announced")
        pieces.append(piece)
        if progress is not None:
            progress(len(piece))
    if response.length:  # read(n) takes an early end for the end
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _read_local(path: str, url: str, *, limit: int, progress: Callable[[int], None] | None) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere(f"`{url}` does not exist") from error
    except OSError as error:
        raise NetworkError(f"cannot read `{url}`: {error.strerror}") from error
    if len(content) > limit:
        raise BadContent(f"`{url}` is larger than the {limit} bytes that were announced")
    if progress is not None:
        progress(len(content))
    return content


def _worth_another_try(error: Exception) -> bool:
    import http.client
    import ssl

    if isinstance(error, _HttpStatus):
        return True  # 5xx and 429 pass; for a 403 of a proxy the attempts cost four seconds, then it is named
    if isinstance(error, ssl.SSLCertVerificationError):
        raise NetworkError(
            f"cannot trust the server: {error.verify_message}",
            hint="a company's CA bundle is named by `SSL_CERT_FILE`",
        ) from error
    return isinstance(error, (OSError, http.client.HTTPException))


def _reason(error: Exception | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _proxy_hint(proxy: str | None) -> str:
    if proxy is not None:
        return f"through proxy `{shown(proxy)}`"
    return "no proxy is set (`http_proxy`, or `Acquire::http::Proxy` of apt)"


def _basic(user: str | None, password: str | None) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{unquote(user or '')}:{unquote(password or '')}".encode()).decode()
