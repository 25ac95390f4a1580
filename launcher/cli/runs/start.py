"""`launch experiment=NAME …`, one run: plan, build, hand over to a supervisor, watch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from launcher.cli.arguments import Request, Talk
from launcher.cli.command import Options
from launcher.cli.timings import Timings


def run_once(request: Request, options: Options, timings: Timings) -> int:
    from launcher.run.start.fork_server import ForkServer

    with ForkServer() as supervisors:
        # Imported beside the server's own start.
        from launcher.cli.prepare import prepare
        from launcher.cli.run_place import place
        from launcher.cli.watch import SIGNALS
        from launcher.run.recover import recover_runs
        from launcher.run.start.create_run import RunIdentity, create_run
        from launcher.run.supervisor.signal_inbox import SignalInbox, held_back

        may_wait = not options.no_wait
        prepared = prepare(request, timings, image=options.image, talk=Talk.of(options), may_wait=may_wait)
        command_line = ("launch", *sys.argv[1:])
        identity = RunIdentity(name=options.name, note=options.note, command_line=command_line, may_wait=may_wait)
        handed_over_at = time.time()
        with held_back(SIGNALS):
            run_dir, lock_fd = create_run(prepared.plan, prepared.image.digest, state=prepared.state, identity=identity)
            placed = place(supervisors, prepared.plan, run_dir, lock_fd, quiet=options.quiet)
            inbox = None if options.detach else SignalInbox(SIGNALS)
        recover_runs(prepared.state)
    if inbox is None:
        print(run_dir.run_id)
        return 0
    code = placed.watch(inbox, quiet=options.quiet)
    if options.timings:
        _print_timings(run_dir.journal, timings, handed_over_at)
    return code


def _print_timings(journal_path: Path, timings: Timings, handed_over_at: float) -> None:
    from launcher.cli.render import say
    from launcher.journal.run_journal import Follower

    timings.add_run(Follower(journal_path).new_entries(), handed_over_at=handed_over_at, ended_at=time.time())
    say("\n".join(timings.lines()))
