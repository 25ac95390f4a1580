"""`launch runs pin RUN …`: what no removal takes."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.tracking.record.run_record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("runs pin", "Keep runs from `runs rm`, and their images from `gc`.", usage="RUN ...")
    parser.add_argument("runs", nargs="+", metavar="RUN", help=args.RUN)
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.keep import pin

    for record in [find_run(state_dir(), reference) for reference in options.runs]:
        pin(record.run_dir)
        print(record.run_id)
    return 0
