"""The lines that say how a rerun compares with the run it repeats: the verdict, what differs, what to do about it."""

from __future__ import annotations

from launcher.cli import render
from launcher.run.compare.compare import Comparison, Difference, Verdict
from launcher.tracking.record.run_record import RunRecord

_BY_ITSELF = (
    "nothing that is recorded differs: the program gives other results each time (no seed, the time of day, threads that race); "
    "`deterministic=true` asks libraries not to"
)


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
