"""Moments as a person writes them: `10m` ago, a time of today, a date, seconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from launcher.errors import ConfigError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment(text: str, *, now: datetime, option: str) -> float:
    """*text* as Unix seconds; dates without a zone are in that of *now*."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now.timestamp() - sum(float(number) * _UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d{9,}(\.\d+)?", text):
        return float(text)
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        text = f"{now.date().isoformat()}T{text.zfill(len(text) + (text.index(':') == 1))}"
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"`{option} {text}` is no time", hint="`10m`, `1h30m`, `14:05`, `2026-11-24T14:05:00Z` or seconds since 1970"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=now.tzinfo)).timestamp()


def timestamp(at: float) -> str:
    """`2026-11-24T14:05:00.123456Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
