"""`launch ui`: the MLflow server's UI on loopback; prints its URL."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("ui", "Start the MLflow UI unless it is up, and print its URL.", usage="")
    args.add_debug_options(parser)
    args.apply_debug(parser.parse_args(arguments))
    from launcher.tracking.mlflow.local_server import ui

    print(ui(state_dir().ensure()))
    return 0
