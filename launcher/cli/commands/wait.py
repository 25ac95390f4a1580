"""`launch wait RUN`: wait for the end of a run, or of a sweep, and exit with its code."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.ending import wait_for
from launcher.cli.summary import print_summary
from launcher.tracking.record.run_record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("wait", "Wait for a run to end; exits with the run's code.", usage="RUN")
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    ended = wait_for(find_run(state_dir(), options.run))
    if ended.is_sweep:
        from launcher.cli.sweep.watch import sweep_ending

        return sweep_ending(ended.run_dir, quiet=False)
    print_summary(ended)
    return 125 if ended.exit_code is None else ended.exit_code
