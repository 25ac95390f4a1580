"""`launch runs unpin RUN …`: let runs go as others do."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.tracking.record.run_record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("runs unpin", "Let pinned runs go as others do.", usage="RUN ...")
    parser.add_argument("runs", nargs="+", metavar="RUN", help=args.RUN)
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.keep import unpin

    for record in [find_run(state_dir(), reference) for reference in options.runs]:
        if unpin(record.run_dir):
            print(record.run_id)
        else:
            render.say(f"{record.run_id} was not pinned")
    return 0
