"""`launch runs`, `launch runs show RUN`: what ran, how it ended, what it gave."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.summary import headline
from launcher.tracking.record import RunRecord, find_run, list_runs
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("runs", "List the runs, oldest first, or show one.", usage="[show RUN] [-n N] [--json]")
    parser.add_argument("action", nargs="?", choices=["show"], help="show one run")
    parser.add_argument("run", nargs="?", metavar="RUN", help="a short prefix, a name, @last, @last~1 or an MLflow run id")
    parser.add_argument("-n", type=int, default=None, metavar="N", help="only the latest N")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if options.n is not None and options.n < 1:
        parser.error("-n takes a number from 1 on")
    from launcher.run.recover import recover_all

    state = state_dir()
    recover_all(state)
    if options.action == "show":
        if options.run is None:
            parser.error("`launch runs show` needs a RUN")
        return _show(find_run(state, options.run), as_json=options.json)
    records = list_runs(state)
    return print_records(records[-options.n :] if options.n else records, as_json=options.json)


def print_records(records: Sequence[RunRecord], *, as_json: bool) -> int:
    if as_json:
        json.dump([record.to_json() for record in records], sys.stdout, indent=2)
        print()
    elif records:
        columns: tuple[str, ...] = ("RUN", "EXPERIMENT", "STATUS", "REASON", "EXIT", "STARTED", "DURATION", "METRICS")
        rows: list[tuple[Any, ...]] = [_row(record) for record in records]
        if any(_ports(record) for record in records):
            columns = (*columns, "PORTS")
            rows = [(*row, _ports(record)) for row, record in zip(rows, records, strict=True)]
        print(render.table(columns, rows))
    else:
        render.say("no runs; `launch experiment=digits` makes one")
    return 0


def _row(record: RunRecord) -> tuple[Any, ...]:
    started = record.started_at or record.created_at
    metrics = "  ".join(f"{name} {render.number(value)}" for name, value in list(record.metrics.items())[:3])
    exit_code = "" if record.exit_code is None else record.exit_code
    when = started.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return (
        record.run_id,
        record.experiment,
        record.status,
        record.reason or _waiting_for(record),
        exit_code,
        when,
        render.duration(record.duration_s),
        metrics,
    )


def _ports(record: RunRecord) -> str:
    """Published ports that somebody may connect to now."""
    return ", ".join(record.ports) if record.exit_code is None else ""


def _waiting_for(record: RunRecord) -> str:
    """What a run that has not ended is at; nothing more to say while it simply runs."""
    return "" if record.phase in ("started", "first_output") else record.phase


def _show(record: RunRecord, *, as_json: bool) -> int:
    if as_json:
        json.dump(record.to_json(), sys.stdout, indent=2)
        print()
        return 0
    print(headline(record))
    for name, value in record.to_json().items():
        if value in (None, "", [], {}) or name in ("run_id", "experiment", "status"):
            continue
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        print(f"  {name:<14} {shown}")
    return 0
