"""`launch dev`: work in a container as a run would have, on the code as it is now; `launch shell experiment=NAME`: on a copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import has_experiment
from launcher.cli.command import Options
from launcher.cli.dev.make import NotStarted, end_container, make_container
from launcher.cli.runs.relay import Relayed
from launcher.cli.runs.shell import SHELL, open_in_run, run_inside, run_to_open
from launcher.errors import ConfigError, LaunchError
from launcher.run.dev_containers import living_in
from launcher.run.running_runs import living_run
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir, state_dir

Work = Callable[[RunRecord, Options], Relayed]


def work(options: Options) -> int:
    """In the container that this directory has already where no experiment is named, else in one of its own."""
    do = partial(_offer_and_do, _rerun_at_saves if options.watch else run_program)
    if options.ssh:
        from launcher.cli.dev.ssh_access import refuse_without_ssh

        refuse_without_ssh()
    if options.kernel and has_experiment(options.overrides):
        from launcher.cli.dev.kernel import REQUIREMENT

        options.requirements = [*options.requirements, REQUIREMENT]
    if options.detach:
        return _stay(options)
    if not has_experiment(options.overrides) and (here := _container_of_this_directory(options)) is not None:
        return do(here, options).code
    return work_in(partial(make_container, options, live=True, name=options.name), do, options)


def open_notebook(options: Options) -> int:
    """`launch notebook`: as `work`, with JupyterLab in it."""
    from launcher.cli.dev.notebook import REQUIREMENT, serve_notebook

    if not has_experiment(options.overrides) and (here := _container_of_this_directory(options)) is not None:
        return serve_notebook(here, options).code
    options.requirements = [*options.requirements, REQUIREMENT]
    return work_in(partial(make_container, options, live=True, name=options.name), serve_notebook, options)


def shell_of_experiment(options: Options) -> int:
    """On a copy of its code (`launch shell experiment=NAME`)."""
    return work_in(partial(make_container, options, live=False), run_program, options)


def shell_of_run(reference: str, options: Options) -> int:
    """Beside the program of a run that goes on, or in what one left that has ended."""
    record = run_to_open(reference)
    if record.exit_code is not None and not (record.is_sweep or record.run_dir.is_dev):
        from launcher.cli.dev.ended_run import open_ended

        return work_in(partial(open_ended, record, options), run_program, options)
    if changes := [word for word in options.overrides if "=" in word]:
        raise ConfigError(f"run `{record.run_id}` has not ended, and is as it is: `{changes[0]}` cannot change it")
    return open_in_run(record.run_id, options)


def _stay(options: Options) -> int:
    """Make a container and leave it (`-d`). Without an experiment, the one that this directory has is offered."""
    offers = options.ssh or options.kernel
    here = _container_of_this_directory(options) if offers and not has_experiment(options.overrides) else None
    try:
        run_id = make_container(options, live=True, name=options.name).run_id if here is None else here.run_id
    except NotStarted as failed:
        return failed.exit_code
    if offers:
        _offer(living_run(state_dir(), run_id), options)
    print(run_id)
    return 0


def work_in(make: Callable[[], RunDir], do: Work, options: Options) -> int:
    """*make* a container, *do* something in it and end it; unless our terminal goes away."""
    try:
        run_dir = make()
    except NotStarted as failed:
        return failed.exit_code
    run_id = run_dir.run_id
    goes_on = f"{run_id} goes on: `launch attach {run_id}` enters it, `launch stop {run_id}` ends it"
    try:
        done = do(living_run(state_dir(), run_id), options)
    except (LaunchError, OSError) as error:
        error.add_note(goes_on)
        raise
    if done.has_ended:
        end_container(run_dir, quiet=options.quiet)
    else:
        render.say(goes_on)
    return done.code


def run_program(record: RunRecord, options: Options) -> Relayed:
    """The command behind `--`, or a shell; on a terminal where we have one."""
    on_terminal = os.isatty(sys.stdin.fileno())
    return run_inside(record, options.command or SHELL, options, with_stdin=True, on_terminal=on_terminal)


def _rerun_at_saves(record: RunRecord, options: Options) -> Relayed:
    from launcher.cli.dev.rerun_at_saves import rerun_at_saves

    return rerun_at_saves(record, options)


def _offer_and_do(do: Work, record: RunRecord, options: Options) -> Relayed:
    _offer(record, options)
    return do(record, options)


def _offer(record: RunRecord, options: Options) -> None:
    """Let those in who were asked for."""
    if options.ssh:
        from launcher.cli.dev.ssh_access import offer_ssh

        offer_ssh(record, quiet=options.quiet)
    if options.kernel:
        from launcher.cli.dev.kernel import offer_kernel

        offer_kernel(record, quiet=options.quiet)


def _container_of_this_directory(options: Options) -> RunRecord | None:
    """The one that lives; None where there is none. Raises ConfigError where it is not clear what is meant."""
    living = living_in(state_dir(), Path.cwd())
    if not living:
        if options.overrides or options.requirements:
            return None  # perhaps an experiment, mistyped
        hint = "`launch dev experiment=NAME` makes one; `launch list` shows the experiments"
        raise ConfigError("this directory has no container to work in", hint=hint)
    if options.overrides or options.requirements:
        raise ConfigError("no experiment was chosen", hint="name one: `launch dev experiment=NAME`")
    if len(living) > 1:
        ids = ", ".join(f"{record.run_id} ({record.experiment})" for record in living)
        raise ConfigError(f"this directory has {len(living)} containers: {ids}", hint="name one: `launch attach ID`")
    return living_run(state_dir(), living[0].run_id)
