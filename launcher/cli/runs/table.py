"""Runs as a table or as JSON: `launch runs`, `launch ps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from launcher.cli import render
from launcher.cli.cluster_run import settle_all, with_waits
from launcher.cli.command import Options
from launcher.run.recover import recover_all
from launcher.run.start.warm_helpers import find_helpers
from launcher.tracking.lack import lack_of, lacking_runs
from launcher.tracking.record.chosen_runs import choose_runs
from launcher.tracking.record.find_runs import active_records, count_hidden, list_runs
from launcher.tracking.record.run_fields import DURATIONS, MOMENTS, Value, check, rows, value
from launcher.tracking.record.run_nodes import node_words
from launcher.tracking.record.run_record import RunRecord
from runtime.plurals import counted
from runtime.state_dir import state_dir

COLUMNS = ("RUN", "EXPERIMENT", "STATUS", "REASON", "EXIT", "STARTED", "DURATION", "METRICS")


def show_runs(options: Options) -> int:
    """Those that the options choose."""
    state = state_dir()
    settle_all(state)
    recover_all(state)
    records = list_runs(state)
    shown = choose_runs(records, where=options.where, sort=options.sort, n=options.n)
    if records and not shown and not options.json:
        render.say(f"none of {counted(len(records), 'run')} fulfils that")
    elif options.columns is not None:
        _print_columns(shown, options.columns, among=records, as_json=options.json)
    else:
        _print_records(shown, as_json=options.json, lacking=lacking_runs(state))
    if not options.json and (hidden := count_hidden(state, records)):
        render.say(f"{counted(hidden, 'run')} of other users in `{state.runs}` cannot be looked into")
    return 0


def show_active_runs(*, as_json: bool) -> int:
    """Those that have not ended."""
    state = state_dir()
    waits = settle_all(state)
    recover_all(state)
    records = [record for record in active_records(state) if record.exit_code is None]
    if not records and not as_json:
        render.say("nothing is running")
    else:
        _print_records(with_waits(records, waits), as_json=as_json, lacking={})
    lacking = lacking_runs(state)
    if lacking and not as_json:
        runs = counted(len(lacking), "run")
        render.say(f"MLflow lacks something of {runs} that ended: sent in the background (`launch runs` says what)")
    return 0


def show_helpers(*, as_json: bool) -> int:
    """The warm helpers of this user."""
    helpers = list(find_helpers())
    if as_json:
        render.print_json([helper._asdict() for helper in helpers])
    elif not helpers:
        render.say("no helper: the next launch starts one")
    else:
        rows = [(str(each.pid), f"{each.memory_bytes / 2**20:.0f} MiB", render.duration(each.age_s)) for each in helpers]
        print(render.table(("PID", "MEMORY", "AGE"), rows))
    return 0


def _print_records(records: Sequence[RunRecord], *, as_json: bool, lacking: Mapping[str, str]) -> None:
    """*lacking*: what MLflow lacks of runs that have ended."""
    if as_json:
        render.print_json([record.to_json() for record in records])
    elif records:
        columns: tuple[str, ...] = COLUMNS
        lines: list[tuple[Any, ...]] = [_row(record) for record in records]
        if any(_ports(record) for record in records):
            columns = (*columns, "PORTS")
            lines = [(*line, _ports(record)) for line, record in zip(lines, records, strict=True)]
        if any(record.nodes for record in records):
            columns = (*columns, "NODES")
            lines = [(*line, node_words(record.nodes)) for line, record in zip(lines, records, strict=True)]
        if any(lacks := [_lack(record, lacking) for record in records]):
            columns = (*columns, "MLFLOW LACKS")
            lines = [(*line, lack or "") for line, lack in zip(lines, lacks, strict=True)]
        if any(record.waits_for for record in records):
            columns = (*columns, "WAITS FOR")
            lines = [(*line, record.waits_for or "") for line, record in zip(lines, records, strict=True)]
        print(render.table(columns, lines))
    else:
        render.say("no runs; `launch experiment=digits` makes one")


def _print_columns(records: Sequence[RunRecord], columns: str, *, among: Sequence[RunRecord], as_json: bool) -> None:
    """Those *columns* (comma-separated fields of `run_fields.py`) of *records*, which are some of *among*."""
    fields = [field.strip() for field in columns.split(",") if field.strip()]
    for field in fields:
        check(field, among)
    if as_json:
        render.print_json(rows(records, fields))
    else:
        print(render.table(fields, [[_cell(field, value(record, field)) for field in fields] for record in records]))


def _cell(field: str, found: Value) -> str:
    if found is None:
        return ""
    if field in DURATIONS and isinstance(found, float):
        return render.duration(found)
    if field in MOMENTS and isinstance(found, float):
        return render.moment(datetime.fromtimestamp(found, UTC))
    return render.number(found) if isinstance(found, float) else str(found)


def _row(record: RunRecord) -> tuple[Any, ...]:
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:3])
    exit_code = "" if record.exit_code is None else record.exit_code
    return (
        record.run_id,
        record.experiment,
        record.status,
        record.reason or _waiting_for(record),
        exit_code,
        render.moment(record.started_at or record.created_at),
        render.duration(record.duration_s),
        metrics,
    )


def _lack(record: RunRecord, lacking: Mapping[str, str]) -> str | None:
    return lacking.get(record.run_id) if record.exit_code is not None else lack_of(record.run_dir)


def _ports(record: RunRecord) -> str:
    """Published ports that somebody may connect to now."""
    return ", ".join(record.ports) if record.exit_code is None else ""


def _waiting_for(record: RunRecord) -> str:
    """What a run that has not ended is at; nothing more to say while it simply runs."""
    if record.waits_for:
        return "waiting"
    return "" if record.phase in ("started", "first_output") else record.phase
