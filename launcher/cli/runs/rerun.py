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
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from launcher.run.compare.compare import Comparison, Difference, Verdict, compare
from launcher.run.recover import recover_runs
from launcher.run.rerun import plan_again
from launcher.run.start.create_run import RunIdentity, create_run
from launcher.run.start.fork_server import ForkServer
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import StateDir, state_dir

DIFFERENT = 1
"""Exit code of `--verify` when the program did well and other things came out."""

_BY_ITSELF = (
    "nothing that is recorded differs: the program gives other results each time (no seed, the time of day, threads that race); "
    "`deterministic=true` asks libraries not to"
)


def rerun_run(options: Options) -> int:
    """Run it again, and say how the two compare; with `--verify` that is the exit code."""
    state = state_dir().ensure()
    before = _find_record(options.run, options.source, state)
    again = plan_again(
        before,
        tuple(options.overrides),
        requirements=tuple(options.requirements),
        state=state,
        cwd=Path.cwd(),
        environ=os.environ,
    )
    for words in again.changed:
        render.warn(words)
    start_local_server(again.plan.spec, state)
    with ForkServer() as supervisors:
        prepared = build_image(again.plan, state, Timings(), talk=Talk.of(options))
        identity = RunIdentity(name=options.name, command_line=("launch", *sys.argv[1:]), rerun_of=before.run_id)
        create = partial(create_run, again.plan, prepared.image.digest, state=state, identity=identity)
        started = start_run(supervisors, again.plan, create, options)
        recover_runs(state)
    code = started.watch(options)
    return code if options.detach else _compare_with(before, fold(started.place.run_dir), code, options)


def _find_record(reference: str, source: str | None, state: StateDir) -> RunRecord:
    """Of this machine, or else of the MLflow server that is named."""
    source = source or os.environ.get("MLFLOW_TRACKING_URI")
    try:
        return find_run(state, reference)
    except ConfigError:
        from launcher.tracking.record.recorded_elsewhere import fetch_record, looks_like_mlflow_run

        if not looks_like_mlflow_run(reference):
            raise
        if source is None:
            hint = "`--from URI` names the MLflow server that has it, or MLFLOW_TRACKING_URI"
            raise ConfigError(f"this machine has no MLflow run `{reference}`", hint=hint) from None
        return fetch_record(source, reference, state=state, environ=os.environ)


def _compare_with(before: RunRecord, after: RunRecord | None, code: int, options: Options) -> int:
    if after is None or (options.quiet and not options.verify):
        return code
    comparison = compare(before, after, rtol=options.rtol)
    if not options.quiet:
        print_verdict(before, after, comparison)
    if options.verify and code == 0 and not comparison.is_verified:
        return DIFFERENT
    return code


def print_verdict(before: RunRecord, after: RunRecord, comparison: Comparison) -> None:
    verdict = comparison.verdict
    render.say(f"rerun {after.run_id} of {before.run_id}: {verdict}{_where(comparison)}")
    is_other = verdict is Verdict.DIFFERENT or comparison.outputs != comparison.equal_outputs
    for number, cause in enumerate(comparison.causes):
        likely = "   likely cause" if is_other and number == 0 else ""
        render.say(f"  differs  {cause.text}{likely}")
    render.say(f"  same     {', '.join(comparison.same) or 'nothing'}")
    if comparison.metrics:
        render.say(f"  metrics  {comparison.equal_metrics} of {comparison.metrics} bit-equal over {comparison.steps} steps")
    if comparison.outputs:
        render.say(f"  outputs  {comparison.equal_outputs} of {comparison.outputs} same sha256")
    if is_other and (hint := _hint(comparison)):
        render.say(f"  hint     {hint}")


def _where(comparison: Comparison) -> str:
    first = comparison.beyond_tolerance or comparison.first_difference
    before, after = comparison.exit_codes
    if before != after:
        return f" (exit code {before} → {after})"
    if first is None:
        return ""
    tolerance = f" {comparison.rtol:g}" if comparison.verdict is Verdict.WITHIN_TOLERANCE else ""
    return f"{tolerance} from step {first.step} ({_change(first)})"


def _change(first: Difference) -> str:
    if first.before is None or first.after is None:
        sides = ["nothing" if value is None else repr(value) for value in (first.before, first.after)]
        return f"{first.metric} {sides[0]} → {sides[1]}"
    return f"{first.metric} {first.before!r} → {first.after!r}, |Δ| {abs(first.after - first.before):.0e}"


def _hint(comparison: Comparison) -> str | None:
    if not comparison.causes:
        return _BY_ITSELF
    return next((cause.hint for cause in comparison.causes if cause.hint), None)
