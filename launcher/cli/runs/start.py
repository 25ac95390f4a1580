"""`launch experiment=NAME …`, one run: plan, build, hand over to a supervisor, watch."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from launcher.cli.arguments import Request, Talk
from launcher.cli.command import Options
from launcher.cli.timings import Timings


def run_once(request: Request, options: Options, timings: Timings) -> int:
    from launcher.run.start.fork_server import ForkServer

    with ForkServer() as supervisors:
        # Imported beside the server's own start.
        from launcher.cli.prepare import prepare
        from launcher.cli.run_place import start_run
        from launcher.run.recover import recover_runs
        from launcher.run.start.create_run import RunIdentity, create_run

        may_wait = not options.no_wait
        prepared = prepare(request, timings, image=options.image, talk=Talk.of(options), may_wait=may_wait)
        command_line = ("launch", *sys.argv[1:])
        identity = RunIdentity(name=options.name, note=options.note, command_line=command_line, may_wait=may_wait)
        handed_over_at = time.time()
        create = partial(create_run, prepared.plan, prepared.image.digest, state=prepared.state, identity=identity)
        started = start_run(supervisors, prepared.plan, create, options)
        recover_runs(prepared.state)
    code = started.watch(options)
    if options.timings and not options.detach:
        _print_timings(started.place.run_dir.journal, timings, handed_over_at)
    return code


def _print_timings(journal_path: Path, timings: Timings, handed_over_at: float) -> None:
    from launcher.cli.render import say
    from launcher.journal.run_journal import Follower

    timings.add_run(Follower(journal_path).new_entries(), handed_over_at=handed_over_at, ended_at=time.time())
    say("\n".join(timings.lines()))
