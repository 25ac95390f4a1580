"""`launch rerun RUN [KEY=VALUE …]`: the recorded plan again, in the same image; then the two runs compared."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from launcher.cli.prepare import build_image, start_local_server
from launcher.cli.run_place import start_run
from launcher.cli.terminal import agrees
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.compare.compare import Comparison, Verdict, compare
from launcher.run.compare.verdict_words import hint_of, verdict_words
from launcher.run.grants import grants
from launcher.run.recover import recover_runs
from launcher.run.rerun import plan_again, plan_with, recorded_code, recorded_plan
from launcher.run.start.create_run import RunIdentity, create_run
from launcher.run.start.fork_server import ForkServer
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import StateDir, state_dir

DIFFERENT = 1
"""Exit code of `--verify` when the program did well and other things came out."""


def rerun_run(options: Options) -> int:
    """Run it again, and say how the two compare; with `--verify` that is the exit code."""
    state = state_dir().ensure()
    before, recorded_at = _find_record(options.run, options.source, state)
    if options.verify and before.exit_code is None:
        hint = f"`launch wait {before.run_id}` waits for its end"
        raise ConfigError(f"run `{before.run_id}` has not ended: there is nothing to compare with", hint=hint)
    plan = recorded_plan(before, state=state)
    if recorded_at is not None and not _is_trusted(before, plan, recorded_at, options):
        return 1
    again = plan_again(
        plan,
        tuple(options.overrides),
        code=recorded_code(before),
        requirements=tuple(options.requirements),
        state=state,
        cwd=Path.cwd(),
        environ=os.environ,
    )
    for words in again.changed:
        render.warn(words)
    start_local_server(again.plan.spec, state)
    with ForkServer() as supervisors:
        prepared = build_image(again.plan, state, Timings(), talk=Talk.of(options, quiet=options.json))
        identity = RunIdentity(name=options.name, command_line=("launch", *sys.argv[1:]), rerun_of=before.run_id)
        create = partial(create_run, again.plan, prepared.image.digest, state=state, identity=identity)
        started = start_run(supervisors, again.plan, create, options)
        recover_runs(state)
    if options.detach:
        return started.watch(options)
    code = started.follow(options)
    return _compare_with(before, fold(started.place.run_dir), code, options)


def _find_record(reference: str, source: str | None, state: StateDir) -> tuple[RunRecord, str | None]:
    """Of this machine, or else of the MLflow server that is named; then with that server's address."""
    source = source or os.environ.get("MLFLOW_TRACKING_URI")
    try:
        return find_run(state, reference), None
    except ConfigError:
        from launcher.tracking.record.recorded_elsewhere import fetch_record, looks_like_mlflow_run

        if not looks_like_mlflow_run(reference):
            raise
        if source is None:
            hint = "`--from URI` names the MLflow server that has it, or MLFLOW_TRACKING_URI"
            raise ConfigError(f"this machine has no MLflow run `{reference}`", hint=hint) from None
        return fetch_record(source, reference, state=state, environ=os.environ), source


def _is_trusted(record: RunRecord, plan: LaunchPlan, recorded_at: str, options: Options) -> bool:
    """Whether the program of *plan*, that of a *record* from elsewhere, shall get what it asks of this machine, which is said.

    Raises ConfigError when nobody can be asked.
    """
    typed = tuple(options.overrides)
    given = grants(plan_with(plan, typed, cwd=Path.cwd()), recorded_at=recorded_at, typed=typed)
    if not given:
        return True
    who = f"`{record.user}` on `{record.host}`" if record.user and record.host else "somebody"
    said = [f"this run is of {who}, as `{recorded_at}` says; here its program gets", *(f"  {g.kind:<9} {g.words}" for g in given)]
    words = "\n".join(map(render.printable, said))
    if not options.trust and not sys.stdin.isatty():
        hint = "`--trust` gives it all of that; `network=none`, `data.NAME=PATH` and other overrides give it something else"
        raise ConfigError(words, hint=hint)
    if not (options.trust and options.quiet):
        render.say(words)
    if options.trust:
        return True
    return agrees("run it with that?")


def _compare_with(before: RunRecord, after: RunRecord | None, code: int, options: Options) -> int:
    if after is None or (options.quiet and not (options.verify or options.json)):
        return code
    comparison = compare(before, after, rtol=options.rtol)
    if options.json:
        from launcher.cli.runs.show import print_record

        print_record(after.run_dir, comparison={"run": before.run_id, **comparison.to_json()})
    elif not options.quiet:
        print_verdict(before, after, comparison)
    if options.verify and code == 0 and not comparison.is_verified:
        return DIFFERENT
    return code


def print_verdict(before: RunRecord, after: RunRecord, comparison: Comparison) -> None:
    render.say(f"rerun {after.run_id} of {before.run_id}: {verdict_words(comparison)}")
    is_other = comparison.verdict is Verdict.DIFFERENT or comparison.has_other_outputs
    for number, cause in enumerate(comparison.causes):
        likely = "   likely cause" if is_other and number == 0 else ""
        render.say(f"  differs  {cause.text}{likely}")
    render.say(f"  same     {', '.join(comparison.same) or 'nothing'}")
    if comparison.metrics:
        render.say(f"  metrics  {comparison.equal_metrics} of {comparison.metrics} bit-equal over {comparison.steps} steps")
    if comparison.outputs:
        render.say(f"  outputs  {comparison.equal_outputs} of {comparison.outputs} same sha256")
    if is_other and (hint := hint_of(comparison)):
        render.say(f"  hint     {hint}")
