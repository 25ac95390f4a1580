"""The `WWW-Authenticate` header of a registry (RFC 9110, 11.6.1; distribution-spec, "token authentication"). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
