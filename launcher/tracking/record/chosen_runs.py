"""Which runs are meant, in which order: `launch runs --where … --sort … -n …`, and `launcher.runs` in Python."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.errors import ConfigError
from launcher.tracking.record.run_fields import check, value
from launcher.tracking.record.run_filter import run_filter
from launcher.tracking.record.run_record import RunRecord


def choose_runs(
    records: Sequence[RunRecord], *, where: str | None = None, sort: str | None = None, n: int | None = None
) -> list[RunRecord]:
    """Those of *records* that fulfil *where*; *n*: the latest, or with *sort* the first. Raises ConfigError."""
    found = matching_runs(records, where)
    if sort is not None:
        return _sort(found, sort, among=records)[:n]
    return found[-n:] if n else found


def matching_runs(records: Sequence[RunRecord], where: str | None) -> list[RunRecord]:
    if where is None:
        return list(records)
    wanted = run_filter(where)
    for field in wanted.fields:
        check(field, records)
    return [record for record in records if wanted.admits(record)]


def _sort(records: Sequence[RunRecord], sort: str, *, among: Sequence[RunRecord]) -> list[RunRecord]:
    ordered = list(records)
    for part in reversed(sort.split(",")):
        match = re.fullmatch(r"\s*(\S+)(?:\s+(asc|desc))?\s*", part, re.IGNORECASE)
        if match is None:
            raise ConfigError(f"nothing can be sorted by `{part.strip()}`", hint="by fields, as in `metrics.acc desc, duration`")
        field, descending = match[1].replace("`", ""), (match[2] or "").lower() == "desc"
        check(field, among)
        having = [record for record in ordered if value(record, field) is not None]
        without = [record for record in ordered if value(record, field) is None]
        having.sort(key=lambda record: _key(value(record, field)), reverse=descending)
        ordered = having + without
    return ordered


def _key(found: object) -> tuple[bool, float, str]:
    """Numbers by size before text by letters."""
    try:
        return False, float(str(found)), ""
    except ValueError:
        return True, 0.0, str(found)
