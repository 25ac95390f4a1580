"""`launch pause RUN…`: everything in the container stands still; `launch unpause` lets it go on."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "pause",
        "Let runs stand still. They keep memory and GPUs; `timeout` does not count meanwhile. `launch stop` ends them as ever.",
        usage="RUN [RUN ...]",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.living import living_run
    from launcher.run.pauses import pause

    for record in [living_run(state_dir(), reference) for reference in options.runs]:
        pause(record)
        render.say(f"paused {record.experiment} {record.run_id}; `launch unpause {record.run_id}` lets it go on")
    return 0
