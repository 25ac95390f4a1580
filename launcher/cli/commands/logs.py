"""`launch logs [-f] RUN`: the program's stdout on stdout, its stderr on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.watch import Tail, follow_output
from launcher.tracking.record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("logs", "Show a run's output.", usage="[-f] RUN")
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last, @last~1 or an MLflow run id")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.recover import recover

    run_dir = find_run(state_dir(), options.run).run_dir
    if options.follow:
        recover(run_dir)
        follow_output(run_dir)
    else:
        Tail(run_dir.stdout, sys.stdout.fileno()).copy()
        Tail(run_dir.stderr, sys.stderr.fileno()).copy()
    return 0
