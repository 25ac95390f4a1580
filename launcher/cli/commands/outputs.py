"""`launch outputs RUN`: the directory with what the run wrote to /outputs."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.tracking.record.run_record import find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("outputs", "Print the directory of a run's outputs.", usage="RUN")
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    print(find_run(state_dir(), options.run).run_dir.outputs)
    return 0
