"""`launch kill RUN…`: SIGKILL to the whole process tree, now."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.ending import end_runs


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("kill", "End runs now.", usage="RUN [RUN ...]")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    return end_runs(options.runs, signal.SIGQUIT)
