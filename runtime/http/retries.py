"""How long a registry is waited for: how often a request is repeated, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass

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
