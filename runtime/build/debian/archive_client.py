"""Fetch files of an archive: http(s) through the host's and apt's proxies, or from a local directory (`file:`).

Nothing here is trusted: callers check hashes. What a file *is* is the business of `release.py` and `locked_debs.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from runtime.build.debian.apt_conf import proxy_environ, read_apt_conf
from runtime.errors import BadContent, NetworkError, Unsupported, error_words
from runtime.http.client import HttpClient, Patience
from runtime.http.connections import Answer, host_of
from runtime.http.proxies import redact_url
from runtime.http.trust import tls_context

_CHUNK = 1 << 17


class NotThere(NetworkError):
    """The archive answered that it has no such file."""


class ArchiveClient:
    """Gets bytes by address. Safe to share between threads."""

    def __init__(self, environ: Mapping[str, str], *, patience: Patience | None = None) -> None:
        """*environ* names proxies and certificates."""
        self.patience = patience or Patience(timeout_s=30.0, attempts=4)
        self._http = HttpClient(
            environ,
            patience=self.patience,
            tls=lambda _: tls_context(environ),
            server=lambda url: f"server `{host_of(url)}`",
            without_proxy="no proxy is set (`http_proxy`, or `Acquire::http::Proxy` of apt)",
        )

    def get(self, url: str, *, limit: int, progress: Callable[[int], None] | None = None) -> bytes:
        """The file at *url*, of at most *limit* bytes. *progress* gets the size of each piece as it comes.

        Raises NotThere for 404 and 410, NetworkError when it cannot be had after some attempts.
        """
        parts = urlsplit(url)
        if parts.scheme in ("file", "copy"):
            return _read_local(unquote(parts.path), url, limit=limit, progress=progress)
        attempt = 0
        while True:
            try:
                with self._open(url) as answer:
                    return _read_body(answer, url, limit=limit, progress=progress)
            except OSError as error:
                pause = self.patience.pause_s(attempt)
                if pause is None:
                    raise NetworkError(
                        f"cannot fetch `{redact_url(url)}`: {error_words(error)}", hint=self._http.way(url)
                    ) from error
            time.sleep(pause)
            attempt += 1

    def chunks(self, url: str) -> Iterator[bytes]:
        """The file at *url* in pieces, for what may be large; a body that breaks off is not asked for again.

        Raises NotThere and NetworkError as `get` does; whoever takes the pieces checks their digest.
        """
        parts = urlsplit(url)
        if parts.scheme == "file":
            with _open_local(unquote(parts.path), url) as file:
                yield from iter(lambda: file.read(_CHUNK), b"")
            return
        with self._open(url) as answer:
            try:
                while piece := answer.read(_CHUNK):
                    yield piece
            except OSError as error:
                raise NetworkError(f"cannot fetch `{redact_url(url)}`: {error_words(error)}") from error

    def _open(self, url: str) -> Answer:
        """The answer that has the file."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unsupported(f"cannot fetch `{redact_url(url)}`: only http, https and file addresses are supported")
        answer = self._http.follow("GET", url, headers={"Accept": "*/*"})
        if answer.status == 200:
            return answer
        answer.discard()
        if answer.status in (404, 410):
            raise NotThere(f"`{redact_url(url)}` does not exist (HTTP {answer.status})")
        raise NetworkError(f"cannot fetch `{redact_url(url)}`: HTTP {answer.status}", hint=self._http.way(url))


def archive_client(environ: Mapping[str, str] = os.environ) -> ArchiveClient:
    """A client with the proxies of *environ* and of this machine's apt."""
    return ArchiveClient({**environ, **proxy_environ(environ, read_apt_conf(Path("/")))})


def _read_body(answer: Answer, url: str, *, limit: int, progress: Callable[[int], None] | None) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := answer.read(_CHUNK):
        size += len(piece)
        if size > limit:
            raise BadContent(f"`{redact_url(url)}` is larger than the {limit} bytes that were announced")
        pieces.append(piece)
        if progress is not None:
            progress(len(piece))
    return b"".join(pieces)


def _open_local(path: str, url: str) -> BinaryIO:
    """A plain file: an address of somebody else's plan may lead to a device or a pipe."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise NetworkError(f"cannot read `{url}`: it is not a file")
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotThere(f"`{url}` does not exist") from error
    except OSError as error:
        raise NetworkError(f"cannot read `{url}`: {error.strerror}") from error


def _read_local(path: str, url: str, *, limit: int, progress: Callable[[int], None] | None) -> bytes:
    with _open_local(path, url) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BadContent(f"`{url}` is larger than the {limit} bytes that were announced")
    if progress is not None:
        progress(len(content))
    return content
