"""Which runs a command line means, in which order: `--where`, `--sort`, `-n`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.cli.command import Options
from launcher.errors import ConfigError
from launcher.tracking.record.run_fields import check, value
from launcher.tracking.record.run_filter import run_filter
from launcher.tracking.record.run_record import RunRecord


def choose_runs(records: Sequence[RunRecord], options: Options) -> list[RunRecord]:
    """Those of *records* that the options mean."""
    found = matching_runs(records, options.where)
    if options.sort is not None:
        return _sort(found, options.sort, among=records)[: options.n]
    return found[-options.n :] if options.n else found


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
            raise ConfigError(f"--sort: `{part.strip()}` is no field", hint="--sort 'metrics.acc desc, duration'")
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
