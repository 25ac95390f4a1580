"""The `Authorization` header of each request to one registry: a password, or tokens for what the request is about.

Tokens follow the distribution project's "Token Authentication Specification" and "OAuth2 Token Authentication": the registry's
challenge names a realm, which gives a token for a scope (`repository:a/b:pull`) to a user, or to anybody. Tokens are kept until
shortly before they end; one that the registry doesn't take any more is asked for once again.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from runtime.errors import BadContent, NetworkError
from runtime.http.connections import Answer, basic
from runtime.http.proxies import redact_url
from runtime.light_dataclasses import dataclass, field
from runtime.registry.credentials import Credentials
from runtime.registry.refusals import refusal

Scopes = tuple[str, ...]
"""`repository:NAME:pull`, sorted; what a request is about."""

AskRealm = Callable[[str, str, Mapping[str, str], bytes | None], Answer]
"""(method, address, headers, body) → answer, with retries and without authentication."""

_CLIENT_ID = "launch"
_LIMIT = 1 << 20
_SHORTEST_LIFE_S = 60.0


def repository_scope(repository: str, actions: str = "pull") -> str:
    """`repository:a/b:pull,push`."""
    return f"repository:{repository}:{actions}"


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at: float
    """By the monotonic clock."""


class Authority:
    """What lets us into one registry. Safe to share between threads."""

    def __init__(self, host: str, *, credentials: Callable[[], Credentials | None], ask: AskRealm) -> None:
        self._host = host
        self._find_credentials = credentials
        self._ask = ask
        self._lock = threading.RLock()
        self._known_credentials: tuple[Credentials | None] | None = None
        self._challenge: Challenge | None = None
        self._tokens: dict[Scopes, _Token] = {}

    @property
    def credentials(self) -> Credentials | None:
        """Looked up when the registry asks for the first time: most helpers are slow, and some ask the user."""
        with self._lock:
            if self._known_credentials is None:
                self._known_credentials = (self._find_credentials(),)
            return self._known_credentials[0]

    @property
    def login(self) -> str | None:
        """As whom we ask; None: as nobody, as far as we know."""
        found = self._known_credentials[0] if self._known_credentials is not None else None
        return None if found is None else found.user or "(identity token)"

    def header(self, scopes: Scopes) -> str | None:
        """What to send with a request about *scopes*; None before the registry has asked for anything."""
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                known = self.credentials
                return None if known is None or not known.user else basic(known.user, known.password)
            token = self._tokens.get(scopes)
            if token is None or token.ends_at <= time.monotonic():
                token = self._tokens[scopes] = self._new_token(self._challenge, scopes)
            return f"Bearer {token.value}"

    def challenged(self, headers: Iterable[str], scopes: Scopes, *, sent: str | None, secure: bool) -> bool:
        """Take in the challenge of an answer 401 to a request that was sent with *sent*. Whether asking again makes sense."""
        challenge = choose_challenge(parse_challenges(headers))
        if challenge is None:
            return False
        if challenge.scheme == "bearer" and secure and urlsplit(challenge.realm).scheme != "https":
            raise NetworkError(f"registry `{self._host}` wants tokens from `{redact_url(challenge.realm)}`, which is not https")
        with self._lock:
            if self._challenge is None or challenge.scheme != self._challenge.scheme or challenge.realm != self._challenge.realm:
                self._challenge = challenge
                self._tokens.clear()
                return challenge.scheme == "bearer" or self.header(scopes) not in (None, sent)
            if challenge.scheme == "basic":
                return self.header(scopes) not in (None, sent)
            token = self._tokens.get(scopes)
            if token is not None and sent == f"Bearer {token.value}":
                # The registry's clock, or its keys, are not those of the realm any more; or it wants a scope of its own.
                self._tokens[scopes] = self._new_token(challenge, _merge_scopes(scopes, challenge.scopes))
            return True

    def _new_token(self, challenge: Challenge, wanted: Scopes) -> _Token:
        fields = [("service", challenge.service)] if challenge.service else []
        fields += [("scope", scope) for scope in wanted]
        known = self.credentials
        asked_at = time.monotonic()
        if known is not None and known.identity_token:
            answer = self._post(challenge.realm, fields, wanted, known.identity_token)
        else:
            answer = self._get(challenge.realm, fields, known)
        document = self._document(answer, challenge.realm, wanted)
        value = document.get("token") or document.get("access_token")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise BadContent(f"`{redact_url(challenge.realm)}` gives no token for registry `{self._host}`")
        lives = document.get("expires_in")
        life_s = max(float(lives), _SHORTEST_LIFE_S) if isinstance(lives, int | float) else _SHORTEST_LIFE_S
        return _Token(value, asked_at + life_s * 0.9)

    def _get(self, realm: str, fields: Sequence[tuple[str, str]], known: Credentials | None) -> Answer:
        headers: dict[str, str] = {}
        if known is not None:
            fields = [*fields, ("account", known.user), ("client_id", _CLIENT_ID)]
            headers["Authorization"] = basic(known.user, known.password)
        parts = urlsplit(realm)
        query = "&".join(filter(None, (parts.query, urlencode(fields))))
        return self._ask("GET", urlunsplit(parts._replace(query=query)), headers, None)

    def _post(self, realm: str, fields: Sequence[tuple[str, str]], scopes: Scopes, identity_token: str) -> Answer:
        form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", identity_token),
            ("client_id", _CLIENT_ID),
            *(pair for pair in fields if pair[0] != "scope"),
            ("scope", " ".join(scopes)),
        ]
        return self._ask("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode())

    def _document(self, answer: Answer, realm: str, scopes: Scopes) -> dict[str, Any]:
        what = f"a token from `{redact_url(realm)}` for `{' '.join(scopes) or 'a login'}`"
        content = answer.read_all(_LIMIT, what)
        if answer.status != 200:
            raise refusal(answer.status, content, host=self._host, what=what, login=self.login)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BadContent(f"registry `{self._host}`: {what}: the answer is not valid JSON") from error
        return document if isinstance(document, dict) else {}


def _merge_scopes(ours: Scopes, theirs: Scopes) -> Scopes:
    """One scope for each resource, with the actions of both."""
    actions: dict[str, dict[str, None]] = {}
    for scope in (*ours, *theirs):
        resource, _, verbs = scope.rpartition(":")
        actions.setdefault(resource, {}).update(dict.fromkeys(verbs.split(",")))
    return tuple(f"{resource}:{','.join(verbs)}" for resource, verbs in actions.items())


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?=\s|,|$)")
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_TOKEN68 = re.compile(r"\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a registry wants to be asked: `Bearer` with a token of *realm*, or `Basic`."""

    scheme: str
    """In lower case."""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges in the values of `WWW-Authenticate`; what is no challenge is passed over."""
    return tuple(challenge for header in headers for challenge in _challenges(header))


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """The one we answer: a bearer token rather than a password on every request; None when there is neither."""
    known = {challenge.scheme: challenge for challenge in reversed(tuple(challenges))}
    bearer = known.get("bearer")
    return bearer if bearer is not None and bearer.realm else known.get("basic")


def _challenges(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while position < len(header) and (scheme := _SCHEME.match(header, position)) is not None:
        position = scheme.end()
        parameters: dict[str, str] = {}
        # `Negotiate YII…=` carries one token instead of parameters.
        blob = _TOKEN68.match(header, position)
        if blob is not None and _PARAMETER.match(header, position) is None:
            position = blob.end()
        while (parameter := _PARAMETER.match(header, position)) is not None:
            name, quoted, bare = parameter.groups()
            parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if bare is None else bare)
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
