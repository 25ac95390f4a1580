"""`launch [run] experiment=NAME …`: compose, plan, build, hand over to a supervisor, watch.

With `-m` (or choices in the overrides) it becomes a sweep: `launcher.sweep.run_sweep`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli.timings import Timings
from launcher.errors import ConfigError

_USAGE = "experiment=NAME [KEY=VALUE ...] [OPTIONS] [-- COMMAND ...]"


def _parser() -> args.Parser:
    parser = args.Parser("run", "Run an experiment: build what is missing, run it in a container, record it.", usage=_USAGE)
    args.add_experiment_options(parser)
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="sweep: every combination of the values given as `key=a,b` or by `sweep.space`",
    )
    parser.add_argument("-d", "--detach", action="store_true", help="print the run id and leave; the run goes on")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    parser.add_argument("--name", help="name of the run")
    parser.add_argument("--note", help="a note for the record")
    parser.add_argument("--image", metavar="IMAGE", help="run in an existing image: a digest prefix, a name or an experiment")
    parser.add_argument("--no-wait", action="store_true", help="fail at once when its GPUs are taken, and say by whom")
    parser.add_argument("--dry-run", action="store_true", help="the same as `launch plan`")
    parser.add_argument("--cfg", choices=["job"], help="print the resolved configuration as YAML and stop")
    parser.add_argument("--timings", action="store_true", help="print the seconds of each phase at the end")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    timings = Timings()
    options, request = args.parse(_parser(), arguments)
    if options.dry_run:
        from launcher.cli.commands.plan import show_plan

        return show_plan(request, as_json=options.json)
    if options.cfg:
        return _print_configuration(request)
    if options.multirun:
        if options.no_wait:
            raise ConfigError("--no-wait is for one run: the trials of a sweep wait for one another")
        from launcher.cli.sweep.run import sweep

        return sweep(request, options, timings)
    return _run_once(request, options, timings)


def _print_configuration(request: args.Request) -> int:
    from launcher.cli.prepare import compose

    sys.stdout.write(compose(request).yaml())
    return 0


def _run_once(request: args.Request, options: argparse.Namespace, timings: Timings) -> int:
    from launcher.run.start.fork_server import ForkServer

    with ForkServer() as supervisors:
        # Imported beside the server's own start.
        from launcher.cli.placing import place
        from launcher.cli.prepare import prepare
        from launcher.cli.watch import SIGNALS
        from launcher.run.recover import recover_runs
        from launcher.run.start.create_run import RunIdentity, new_run
        from launcher.run.supervisor.signal_inbox import SignalInbox, held_back

        may_wait = not options.no_wait
        prepared = prepare(request, timings, image=options.image, quiet=options.quiet, may_wait=may_wait)
        command_line = ("launch", *sys.argv[1:])
        identity = RunIdentity(name=options.name, note=options.note, command_line=command_line, may_wait=may_wait)
        handed_over_at = time.time()
        with held_back(SIGNALS):
            run_dir, lock_fd = new_run(prepared.plan, prepared.image.digest, state=prepared.state, identity=identity)
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
    from launcher.journal import journal

    timings.add_run(journal.read(journal_path), handed_over_at=handed_over_at, ended_at=time.time())
    say("\n".join(timings.lines()))
