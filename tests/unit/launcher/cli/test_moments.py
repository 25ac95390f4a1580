"""Moments as a person writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from launcher.cli.runs.logs import parse_moment, timestamp
from launcher.errors import ConfigError

NOW = datetime(2026, 11, 24, 15, 0, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", datetime(2026, 11, 24, 13, 50, tzinfo=UTC)),
        ("1h30m", datetime(2026, 11, 24, 12, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 22, 14, 0, tzinfo=UTC)),
        ("0.5s", datetime(2026, 11, 24, 13, 59, 59, 500_000, tzinfo=UTC)),
        ("14:05", datetime(2026, 11, 24, 13, 5, tzinfo=UTC)),
        ("9:05:30", datetime(2026, 11, 24, 8, 5, 30, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 22, 23, 0, tzinfo=UTC)),
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, 0, tzinfo=UTC)),
        ("1795000000", datetime.fromtimestamp(1795000000, UTC)),
    ],
)
def test_a_moment(text: str, expected: datetime) -> None:
    assert expected.timestamp() == parse_moment(text, now=NOW, option="--since")


@pytest.mark.parametrize("text", ["", "10", "m", "10x", "yesterday", "25:00", "10m ago"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_moment(text, now=NOW, option="--since")


def test_a_written_time_is_read_back() -> None:
    assert parse_moment(timestamp(1795000000.25), now=NOW, option="--since") == 1795000000.25
