"""What a registry says when it refuses, as errors with a way out.

NetworkError
└── RegistryRefusal       the registry answered, and the answer is no; `status` and `codes` say which
    └── NotInRegistry     404: no such repository, manifest or blob
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runtime.errors import NetworkError

_LONGEST_WORDS = 300


class RegistryRefusal(NetworkError):
    """The registry answered with an error."""

    def __init__(self, message: str, *, status: int, codes: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = tuple(codes)
        """As in the distribution-spec, "Error Codes": `MANIFEST_UNKNOWN`, `DENIED`, …"""


class NotInRegistry(RegistryRefusal):
    """There is no such repository, manifest or blob."""


def refusal(status: int, body: bytes, *, host: str, what: str, login: str | None) -> RegistryRefusal:
    """The error for an answer *status* to a request for *what* (`manifest `x` of `a/b``). *login*: as whom we asked."""
    codes, words = _parse_errors(body)
    why = f"{words} (HTTP {status})" if words else f"HTTP {status}"
    subject = f"registry `{host}`: {what}"
    if status == 404:
        private = "" if login else f"; a private repository shows itself only after `launch login {host}`"
        hint = f"check the spelling of name and tag{private}"
        return NotInRegistry(f"{subject} is not found: {why}", status=status, codes=codes, hint=hint)
    if status in (401, 403):
        who = f"to user `{login}`" if login else "without a login"
        hint = f"`launch login {host}`" if login is None or status == 401 else "ask for the permission, or log in as another user"
        if status == 401 and login is None:
            hint += "; a repository that does not exist is refused like this too"
        return RegistryRefusal(f"{subject} is refused {who}: {why}", status=status, codes=codes, hint=hint)
    if status == 429:
        hint = f"wait, or name a mirror in registries.conf{'' if login else f'; `launch login {host}` may raise the limit'}"
        return RegistryRefusal(f"{subject}: too many requests: {why}", status=status, codes=codes, hint=hint)
    own_fault = "the registry failed itself, and its log says why; a full disk is the usual reason"
    return RegistryRefusal(f"{subject}: {why}", status=status, codes=codes, hint=own_fault if status in (500, 507) else None)


def _parse_errors(body: bytes) -> tuple[tuple[str, ...], str]:
    """Codes and words of an error document; any of it may be missing."""
    try:
        document: Any = json.loads(body)
        errors = [error for error in document["errors"] if isinstance(error, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return (), ""
    codes = tuple(str(error.get("code", "")) for error in errors)
    words = "; ".join(str(error.get("message") or error.get("code") or "") for error in errors)
    printable = "".join(letter if letter.isprintable() else " " for letter in words)
    return codes, printable[:_LONGEST_WORDS]
