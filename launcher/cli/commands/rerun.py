"""`launch rerun RUN [KEY=VALUE …]`: the recorded plan again, in the same image; then the two runs compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli.timings import Timings
from launcher.cli.verdict import print_verdict
from launcher.cli.watch import SIGNALS, watch
from launcher.run.compare import compare
from launcher.run.fork_server import ForkServer
from launcher.run.handover import RunIdentity, new_run
from launcher.run.recover import recover_runs
from launcher.run.rerun import recorded_plan
from launcher.run.signal_inbox import SignalInbox, held_back
from launcher.tracking.record import find_run, fold
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    usage = "RUN [KEY=VALUE ...] [-d]"
    parser = args.Parser("rerun", "Run a recorded run again: same plan, same image; other parameters if given.", usage=usage)
    parser.add_argument("run", metavar="RUN", help=args.RUN)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="what is to be different: `params.lr=0.5 seed=2`")
    parser.add_argument("-d", "--detach", action="store_true", help="print the run id and leave; the run goes on")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    parser.add_argument("--name", help="name of the new run")
    args.add_debug_options(parser)
    options = parser.parse_intermixed_args(arguments)
    args.apply_debug(options)
    from launcher.cli.prepare import build_image, start_local_server

    timings = Timings()
    state = state_dir().ensure()
    before = find_run(state, options.run)
    plan = recorded_plan(before, tuple(options.overrides), state=state, cwd=Path.cwd())
    start_local_server(plan.spec, state)
    with ForkServer() as supervisors:
        prepared = build_image(plan, state, timings, quiet=options.quiet)
        identity = RunIdentity(name=options.name, command_line=("launch", *sys.argv[1:]), rerun_of=before.run_id)
        with held_back(SIGNALS):
            run_dir, lock_fd = new_run(plan, prepared.image.digest, state=state, identity=identity)
            supervisor = supervisors.supervise(run_dir, lock_fd)
            inbox = None if options.detach else SignalInbox(SIGNALS)
        recover_runs(state)
    if inbox is None:
        print(run_dir.run_id)
        return 0
    code = watch(run_dir, supervisor, inbox, quiet=options.quiet)
    after = fold(run_dir)
    if after is not None and not options.quiet:
        print_verdict(before, after, compare(before, after))
    return code
