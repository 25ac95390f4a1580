"""`launch shell RUN` of a run that has ended: a container as it had, with the files that it left."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from launcher.cli.dev.make import start_container
from launcher.cli.prepare import Prepared, build_image
from launcher.cli.timings import Timings
from launcher.plan.program.dev_container import on_this_machine
from launcher.run.rerun import plan_again, recorded_code, recorded_plan
from launcher.run.start.create_run import RunIdentity
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import replace
from runtime.state_dir import RunDir, StateDir


def open_ended(record: RunRecord, options: Options) -> RunDir:
    """The container, started. Raises NotStarted."""
    identity = RunIdentity(is_dev=True, opens=record.run_id)
    run_dir, plan = start_container(partial(_prepare, record, options), options, live=False, identity=identity)
    if not options.quiet:
        left = f"as run {record.run_id} left it, in {plan.build.config.workdir}"
        render.say(f"{plan.spec.name} {run_dir.run_id}: {left}; its own files stay as they are")
        for note in record.notes:
            if " with the working directory `" in note:
                render.warn(note)
    return run_dir


def _prepare(record: RunRecord, options: Options, state: StateDir) -> Prepared:
    overrides = tuple(word for word in options.overrides if "=" in word)
    plan, code = recorded_plan(record, state=state), recorded_code(record)
    again = plan_again(plan, overrides, code=code, state=state, cwd=Path.cwd(), environ=os.environ)
    for words in again.changed:
        render.warn(words)
    plan = replace(again.plan, spec=on_this_machine(again.plan.spec))
    return build_image(plan, state, Timings(), talk=Talk.of(options))
