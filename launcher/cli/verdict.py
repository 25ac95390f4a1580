"""The lines that say how a rerun compares with the run it repeats."""

from __future__ import annotations

from launcher.cli import render
from launcher.run.compare import Comparison
from launcher.tracking.record import RunRecord


def print_verdict(before: RunRecord, after: RunRecord, comparison: Comparison) -> None:
    first = comparison.first_difference
    where = ""
    if first is not None:
        change = f"{first.metric} {first.before!r} → {first.after!r}, |Δ| {abs(first.after - first.before):.0e}"
        where = f" from step {first.step} ({change})"
    render.say(f"rerun {after.run_id} of {before.run_id}: {comparison.verdict}{where}")
    for difference in comparison.differs:
        render.say(f"  differs  {difference}")
    render.say(f"  same     {', '.join(comparison.same) or 'nothing'}")
    render.say(f"  metrics  {comparison.equal_metrics} of {comparison.metrics} bit-equal over {comparison.steps} steps")
    if comparison.outputs:
        render.say(f"  outputs  {comparison.equal_outputs} of {comparison.outputs} same sha256")
