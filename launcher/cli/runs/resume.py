"""`launch resume RUN|SWEEP`: go on with a run that was stopped or lost its host, or with a sweep (which may try more points)."""

from __future__ import annotations

import os
import sys
from functools import partial

from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from launcher.errors import ConfigError
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import StateDir, state_dir


def resume_run_or_sweep(options: Options) -> int:
    from launcher.cli.runs.control import wait_until_over
    from launcher.run.recover import is_about_to_end, recover_all

    state = state_dir()
    recover_all(state)
    record = find_run(state, options.run)
    if is_about_to_end(record.run_dir):  # after a crash, say, and on a busy machine
        record = wait_until_over(record)
    if not record.is_sweep:
        return _resume_run(record, state, options)
    from launcher.cli.sweep.run import resume_sweep

    return resume_sweep(record, options)


def _resume_run(record: RunRecord, state: StateDir, options: Options) -> int:
    if options.overrides:
        hint = f"`launch rerun {record.run_id} {options.overrides[0]}` makes a new run of it"
        raise ConfigError(f"a run goes on as it was begun, without `{options.overrides[0]}`", hint=hint)
    from launcher.cli.prepare import build_image, start_local_server
    from launcher.cli.run_place import start_run
    from launcher.cli.timings import Timings
    from launcher.plan.data_pin import changed_data, refuse_missing_inputs
    from launcher.run.rerun import recorded_plan
    from launcher.run.resume import refuse_another_image, refuse_to_resume, take_up_again
    from launcher.run.start.fork_server import ForkServer

    if record.job is not None:
        from launcher.cli.cluster_run import settled

        record = settled(record)
    refuse_to_resume(record)
    plan = recorded_plan(record, state=state)
    refuse_missing_inputs(plan, environ=os.environ)
    changed = changed_data(plan, state=state)
    if changed and not options.force:
        raise ConfigError(
            f"run `{record.run_id}` would go on with other data: {changed[0]}",
            hint="`--force` goes on all the same; the record keeps what it began with",
        )
    start_local_server(plan.spec, state)
    with ForkServer() as supervisors:
        prepared = build_image(plan, state, Timings(), talk=Talk.of(options, quiet=options.json))
        refuse_another_image(record, plan, prepared.image.digest)
        take_up = partial(take_up_again, record, command_line=("launch", *sys.argv[1:]))
        started = start_run(supervisors, plan, take_up, options)
    return started.watch(options, tail=0)
