"""`launch ps`: the runs that have not ended."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.runs.table import print_records
from launcher.tracking.record.run_record import fold
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("ps", "List the runs that have not ended.", usage="[--json]")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.cli.cluster_run import settle_all, with_waits
    from launcher.run.active import active_runs
    from launcher.run.recover import recover_all

    state = state_dir()
    waits = settle_all(state)
    recover_all(state)
    records = [record for record in map(fold, active_runs(state)) if record is not None and record.exit_code is None]
    records = with_waits(records, waits)
    if not records and not options.json:
        render.say("nothing is running")
        return 0
    return print_records(records, as_json=options.json)
