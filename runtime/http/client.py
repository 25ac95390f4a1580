"""Requests that are repeated while that may help, and redirects that are followed; what keeps us from a server, in words.

Who asks says how patient it is, whom it asks (for errors) and which certificates it believes. What an answer means, and a body
that breaks off within, are the caller's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from runtime.errors import NetworkError, error_words
from runtime.http.connections import Answer, Body, Connections, can_repeat, host_of
from runtime.http.proxies import proxy_for, redact_url
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    import ssl

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10

PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that another attempt may not get."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of waiting."""

    timeout_s: float = 60.0
    """For a connection, and between two pieces of an answer."""
    attempts: int = 5
    first_pause_s: float = 0.4
    longest_wait_s: float = 60.0
    """A registry that asks for more (`Retry-After`) is not waited for."""

    def pause_s(self, attempt: int, retry_after: str | None = None) -> float | None:
        """Seconds to wait before attempt number *attempt* + 1 (the first is 0); None: give up."""
        if attempt + 1 >= self.attempts:
            return None
        import random

        # Spread, so that parallel downloads don't come back as one.
        own = self.first_pause_s * 2.0**attempt * random.uniform(0.8, 1.2)
        asked = _seconds(retry_after)
        if asked is None:
            return min(own, self.longest_wait_s)
        return None if asked > self.longest_wait_s else max(asked, 0.0)


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3): seconds, or a date."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if not text:
        return None
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


class HttpClient:
    """Safe to share between threads; connections are kept."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        patience: Patience,
        tls: Callable[[str], ssl.SSLContext],
        server: Callable[[str], str],
        without_proxy: str | None = None,
    ) -> None:
        """*server*: whom an address asks, in words. *without_proxy*: the hint when a server cannot be reached directly."""
        self.patience = patience
        self.connections = Connections(environ, timeout_s=patience.timeout_s, tls=tls)
        self._environ = environ
        self._server = server
        self._without_proxy = without_proxy
        self._answered = False

    def close(self) -> None:
        """Close idle connections. Answers that are open stay so."""
        self.connections.close()

    def follow(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body = None,
        authorization: str | None = None,
        home: str = "",
        leave_tls: bool = False,
    ) -> Answer:
        """The answer at the end of redirects. *authorization* is shown to the host *home* alone. *leave_tls*: a redirect from
        https to http is followed, too."""
        for _ in range(_MOST_REDIRECTS):
            own = {"Authorization": authorization} if authorization is not None and host_of(url) == home else {}
            answer = self.ask(method, url, headers={**headers, **own}, body=body)
            location = answer.header("Location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            target = urljoin(url, location)
            answer.discard()
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https" and not leave_tls:
                raise NetworkError(f"{self._server(url)} redirects from https to `{redact_url(target)}`, which is refused")
            url = target
        raise NetworkError(f"{self._server(url)} redirects too often, last to `{redact_url(url)}`")

    def ask(self, method: str, url: str, *, headers: Mapping[str, str], body: Body = None) -> Answer:
        """An answer, of whatever status, once the server had time for it. Raises NetworkError when there is none."""
        attempt = 0
        while True:
            try:
                answer = self.connections.request(method, url, headers=headers, body=body)
            except (OSError, UnicodeError) as error:
                # A piece may have arrived although the answer did not.
                may_repeat = can_repeat(body) and method != "PATCH" and self._may_pass(error)
                pause = self.patience.pause_s(attempt) if may_repeat else None
                if pause is None:
                    raise self._unreachable(error, url) from error
            else:
                self._answered = True
                pause = self.patience.pause_s(attempt, answer.header("Retry-After"))
                if answer.status not in PASSING_STATUSES or pause is None or not can_repeat(body):
                    return answer
                answer.discard()
            time.sleep(pause)
            attempt += 1

    def way(self, url: str) -> str | None:
        """How *url* is reached, as a hint: which proxy stands between, or that none does."""
        proxy = proxy_for(urlsplit(url), self._environ)
        return self._without_proxy if proxy is None else f"it was asked through the proxy `{redact_url(proxy)}`"

    def _may_pass(self, error: Exception) -> bool:
        """Whether another attempt may do better: a server that never answered and refuses is not there."""
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError) or getattr(error, "reason", "") == "WRONG_VERSION_NUMBER":
            return False
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_AGAIN
        return self._answered or not isinstance(error, ConnectionRefusedError)

    def _unreachable(self, error: Exception, url: str) -> NetworkError:
        """The error for a request that got no answer."""
        import ssl

        server, hint = self._server(url), self.way(url)
        if isinstance(error, ssl.SSLCertVerificationError):
            return NetworkError(
                f"{server}: its certificate is not trusted: {error.verify_message.lower()}",
                hint="put its CA into /etc/containers/certs.d/HOST/ca.crt, or name a bundle with SSL_CERT_FILE",
            )
        if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
            return NetworkError(
                f"{server} does not speak TLS",
                hint="if it is meant to be plain HTTP: `[[registry]]` with `location` and `insecure = true` in registries.conf",
            )
        if isinstance(error, socket.gaierror):
            return NetworkError(f"{server}: its name cannot be resolved: {error.strerror}", hint=hint)
        if isinstance(error, ConnectionRefusedError):
            return NetworkError(f"{server} refuses connections", hint=hint or "is it running, and is the port right?")
        if isinstance(error, TimeoutError):
            return NetworkError(f"{server} does not answer within {self.patience.timeout_s:g} s", hint=hint)
        return NetworkError(f"{server} cannot be asked: {error_words(error)}", hint=hint)
