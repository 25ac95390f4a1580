"""`launch ui`: the MLflow UI on loopback, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("ui", "Serve the MLflow UI on loopback until Ctrl-C.", usage="[--port PORT]")
    parser.add_argument("--port", type=int, default=0, help="TCP port; default: the one that each run's URL names")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.tracking.mlflow_server import ui

    return ui(state_dir().ensure(), port=options.port)
