"""Make a container to work in, and end one: what `launch dev` and `launch shell experiment=NAME` do before somebody is in it, and
after."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk, request_of
from launcher.cli.command import Options
from launcher.cli.prepare import Prepared, compose, plan_and_build
from launcher.cli.run_place import ThisMachine
from launcher.cli.runs.summary import headline, print_summary
from launcher.cli.timings import Timings
from launcher.cli.watch import SIGNALS, Left, looks, print_notes
from launcher.config.compiled import ComposedSpec
from launcher.errors import ConfigError
from launcher.journal.events import Note, Started
from launcher.journal.run_journal import Follower
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.dev_container import code_target, dev_plan, dev_warnings
from launcher.run.dev_containers import forget, unreported
from launcher.run.recover import recover_runs
from launcher.run.start.create_run import RunIdentity, create_run
from launcher.run.start.fork_server import ForkServer
from launcher.run.supervisor.signal_inbox import SignalInbox, held_back
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.container.exec_inside import ExecRequest, exec_inside
from runtime.light_dataclasses import replace
from runtime.state_dir import RunDir, StateDir, state_dir


class NotStarted(Exception):
    """It ended before anybody could enter, or its caller left while it waited for GPUs."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


def make_container(options: Options, *, live: bool, name: str | None = None) -> RunDir:
    """The container of the experiment that *options* name, started: with *live* code, or a copy. Raises NotStarted."""
    identity = RunIdentity(name=name, is_dev=True)
    run_dir, plan = start_container(partial(_prepare, options), options, live=live, identity=identity)
    if not options.quiet:
        code = f"your `{_short(plan.code.root)}`, live" if live else "the code as it is now"
        render.say(f"{plan.spec.name} {run_dir.run_id}: {code}, in {code_target(plan)}")
        for warning in (*_unwritable(run_dir, plan), *dev_warnings(plan)) if live else ():
            render.warn(warning)
    return run_dir


def _unwritable(run_dir: RunDir, plan: LaunchPlan) -> list[str]:
    """That the container's user can't save to the live code, where the container itself says so."""
    with exec_inside(run_dir.init_socket, ExecRequest(("test", "-w", code_target(plan)), cwd="/")) as asked:
        select.select([asked.ending], [], [])
        ended = asked.ended()
    if ended is None or ended.code != 1:  # an image without `test` tells nothing
        return []
    what = f"`{_short(plan.code.root)}` can't be written from inside: {_why(plan.code.root)}"
    return [f"nothing can be saved in {code_target(plan)}: {what}"]


def _why(directory: str) -> str:
    from launcher.run.gpus.process_owner import user_name

    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    found = os.stat(directory)
    return f"it belongs to {user_name(found.st_uid)}, with mode {found.st_mode & 0o7777:o}"


def start_container(
    prepare: Callable[[StateDir], Prepared], options: Options, *, live: bool, identity: RunIdentity
) -> tuple[RunDir, LaunchPlan]:
    """A container of what *prepare* plans and builds, once it has started. Raises NotStarted."""
    with ForkServer() as supervisors:
        state = state_dir().ensure()
        report_ended(state)
        prepared = prepare(state)
        plan = dev_plan(prepared.plan, live=live)
        identity = replace(identity, command_line=("launch", *sys.argv[1:]))
        with held_back(SIGNALS):
            run_dir, lock_fd = create_run(plan, prepared.image.digest, state=state, identity=identity)
            place = ThisMachine(run_dir, supervisors.supervise(run_dir, lock_fd))
            inbox = SignalInbox(SIGNALS)
        recover_runs(state)
    _wait_until_started(place, inbox, quiet=options.quiet)
    return run_dir, plan


def _prepare(options: Options, state: StateDir) -> Prepared:
    composed = compose(request_of(options), state)
    _refuse_elsewhere(composed)
    return plan_and_build(composed, state, Timings(), image=options.image, talk=Talk.of(options))


def _short(path: str) -> str:
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return render.home_relative(path)


def _refuse_elsewhere(composed: ComposedSpec) -> None:
    from launcher.plan.origins import origin_of

    if composed.spec.cluster.kind != "local":
        raise ConfigError(
            "a container to work in is made on this machine only",
            origin=origin_of(composed.origins, "cluster.kind"),
            hint="`cluster=local`; on a node of the cluster: `srun --pty launch dev … cluster=local`",
        )


def _wait_until_started(place: ThisMachine, inbox: SignalInbox, *, quiet: bool) -> None:
    journal = Follower(place.run_dir.journal)
    try:
        for _ in looks(place, inbox):
            entries = journal.new_entries()
            if not quiet:
                print_notes(entries)
            if journal.state.has_started and not journal.state.is_over:
                return
    except Left as left:
        raise NotStarted(left.exit_code) from None
    record = fold(place.run_dir)
    if record is not None:
        print_summary(record)
        forget(place.run_dir)
    raise NotStarted(125 if record is None or record.exit_code is None else record.exit_code)


def end_container(run_dir: RunDir, *, quiet: bool) -> None:
    """End it, and tell what became of it. Ctrl-C doesn't wait for what is in it."""
    place = ThisMachine(run_dir)
    place.end(signal.SIGTERM)
    with suppress(Left):
        for _ in looks(place, SignalInbox(SIGNALS)):
            pass
    record = fold(run_dir)
    if record is not None and record.exit_code is not None:
        report_end(record, quiet=quiet)


def report_end(record: RunRecord, *, quiet: bool = False) -> None:
    """What it leaves: what was installed in it, and outputs. Then it is forgotten."""
    entries = Follower(record.run_dir.journal).new_entries()
    began = max((number for number, entry in enumerate(entries) if isinstance(entry.event, Started)), default=0)
    is_kept = forget(record.run_dir)
    if not quiet:
        print_notes([entry for entry in entries[began:] if isinstance(entry.event, Note)])
    if is_kept:
        render.say(f"what it wrote to /outputs and /checkpoints is in {render.home_relative(record.run_dir.root)}")
        render.say(f"  `launch runs rm {record.run_id}` removes it")


def report_ended(state: StateDir) -> None:
    """Of those that ended when nobody was there: idle for too long, with their machine, or stopped by somebody else."""
    for record in unreported(state):
        render.say(headline(record))
        report_end(record)
