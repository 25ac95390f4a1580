"""`launch attach RUN`: watch a running run or sweep from this shell, as the one that started it does."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "attach",
        "Watch a running run as if it had been started here. Ctrl-C asks it to end, again kills it, Ctrl-\\ leaves it running.\n"
        "`launch logs -f` only looks. Exits with the run's code.",
        usage="[--tail N] [-q] RUN",
    )
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    parser.add_argument("-n", "--tail", type=int, default=10, metavar="N", help="lines to show of what it said before (10)")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if options.tail < 0:
        parser.error("--tail takes a number from 0 on")
    from launcher.cli.placing import place_of
    from launcher.cli.watch import SIGNALS
    from launcher.run.living import running_or_waiting
    from launcher.run.supervisor.signal_inbox import SignalInbox

    record = running_or_waiting(state_dir(), options.run)
    inbox = SignalInbox(SIGNALS)
    if not options.quiet:
        asks = "Ctrl-C starts no more trials, again stops those that run" if record.is_sweep else "Ctrl-C asks it to end"
        render.say(f"watching {record.experiment} {record.run_id}: {asks}, Ctrl-\\ leaves it running")
    return place_of(record).watch(inbox, quiet=options.quiet, tail=options.tail)
