"""What a comparison comes to, in words: where the first difference is, and what to do about it."""

from __future__ import annotations

from launcher.run.compare.compare import Comparison, Difference, Verdict

_BY_ITSELF = (
    "nothing that is recorded differs: the program gives other results each time (no seed, the time of day, threads that race); "
    "`deterministic=true` asks libraries not to"
)


def verdict_words(comparison: Comparison) -> str:
    """`different from step 3 (loss 0.1 → 0.2, |Δ| 1e-01)`"""
    return f"{comparison.verdict}{_where(comparison)}"


def hint_of(comparison: Comparison) -> str | None:
    """What to do where something differs; None when nobody knows."""
    if not comparison.causes:
        return _BY_ITSELF
    return next((cause.hint for cause in comparison.causes if cause.hint), None)


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
