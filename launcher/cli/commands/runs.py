"""`launch runs`, `launch runs ACTION RUN …`: what ran, how it ended, what it gave. Actions: `launcher/cli/runs/`."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.actions import action_main, epilog
from launcher.cli.runs.choice import add_choice, chosen
from launcher.cli.runs.table import print_columns, print_records
from runtime.build.step_label import counted
from runtime.state_dir import state_dir

ACTIONS = {
    "show": "everything that is known about a run",
    "rm": "remove the directories of runs that have ended",
    "pin": "keep runs, and the images they used, from every removal",
    "unpin": "let them go as others do",
}
"""Word → what it does; `launcher.cli.runs.<word>` does it."""


def main(arguments: Sequence[str]) -> int:
    done = action_main("runs", ACTIONS, arguments, shown_by_default="one run")
    if done is not None:
        return done
    parser = args.Parser(
        "runs",
        "List the runs, oldest first, or do something with some.",
        usage="[ACTION RUN ...] [--where EXPR] [--sort FIELDS] [--columns FIELDS] [-n N] [--json]",
        epilog=epilog("runs", ACTIONS),
    )
    add_choice(parser)
    parser.add_argument(
        "--columns", metavar="FIELDS", help="show these fields, e.g. run,params.lr,metrics.acc,duration; docs/guides/tracking.md"
    )
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.cli.cluster_run import settle_all
    from launcher.run.recover import recover_all
    from launcher.tracking.record.run_record import list_runs

    state = state_dir()
    settle_all(state)
    recover_all(state)
    records = list_runs(state)
    found = chosen(records, options, parser)
    if records and not found and not options.json:
        render.say(f"none of {counted(len(records), 'run')} fulfils that")
        return 0
    if options.columns is not None:
        return print_columns(found, options.columns, among=records, as_json=options.json)
    return print_records(found, as_json=options.json)
