"""`launch experiment=NAME …`, one run: plan, build, hand over to a supervisor, watch."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.arguments import Request, Talk
from launcher.cli.command import Options
from launcher.cli.timings import Timings
from launcher.errors import ConfigError

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan


def run_once(request: Request, options: Options, timings: Timings, *, patch: str = "") -> int:
    """*patch* is what makes the experiment's file say what *request* does, where that differs (`--from-dev`)."""
    from launcher.run.start.fork_server import ForkServer

    with ForkServer() as supervisors:
        # Imported beside the server's own start.
        from launcher.cli.prepare import prepare
        from launcher.cli.run_place import start_run
        from launcher.run.recover import recover_runs
        from launcher.run.start.create_run import RunIdentity, create_run

        may_wait = not options.no_wait
        terminal = _size_of_terminal(options) if options.tty else None
        prepared = prepare(request, timings, image=options.image, talk=Talk.of(options, quiet=options.json), may_wait=may_wait)
        command_line = ("launch", *sys.argv[1:])
        if options.tty:
            _refuse_terminal(prepared.plan)
        identity = RunIdentity(
            name=options.name,
            note=options.note,
            command_line=command_line,
            may_wait=may_wait,
            terminal=terminal,
        )
        create = partial(create_run, prepared.plan, prepared.image.digest, state=prepared.state, identity=identity)
        started = start_run(supervisors, prepared.plan, create, options)
        if patch:
            from launcher.cli.dev.freeze import keep_patch

            keep_patch(patch, started.place.run_dir.root, quiet=options.quiet)
        recover_runs(prepared.state)
    code = started.watch(options)
    if options.timings and not options.detach:
        _print_timings(started.place.run_dir.journal, timings)
    return code


def _size_of_terminal(options: Options) -> tuple[int, int]:
    """Rows and columns for the program. Raises ConfigError where nobody could type."""
    from launcher.cli.terminal import need_terminal, terminal_size  # few launches need it

    if not options.detach:
        need_terminal("without `-it` the program has nothing to read; with `-d` it waits for `launch attach`")
    return terminal_size()


def _refuse_terminal(plan: LaunchPlan) -> None:
    """Raises ConfigError where the program can have none."""
    if plan.spec.cluster.kind != "local":
        raise ConfigError("-it: a job of a cluster has no terminal", hint="`srun --pty launch run -it … cluster=local`")
    if plan.processes > 1:
        raise ConfigError(f"-it: {plan.processes} processes cannot share a terminal", hint="`processes=1`")


def _print_timings(journal_path: Path, timings: Timings) -> None:
    from launcher.cli.render import say
    from launcher.journal.run_journal import Follower

    timings.add_run(Follower(journal_path).new_entries(), ended_at=time.time())
    say("\n".join(timings.lines()))
