"""How long a run's program has run, out of its journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from launcher.journal.journal import Event


def running_s(events: Iterable[Event], *, until: float | None) -> float | None:
    """Seconds between each `started` and the end of that attempt; the open one counts up to *until* or now."""
    total, began, last = 0.0, None, 0.0
    seen = False
    for event in events:
        if event.name == "started":
            began, seen = event.at, True
        elif event.name in ("attempt", "finished") and began is not None:
            total, began = total + event.at - began, None
        last = event.at
    if began is not None:
        end = until if until is not None else datetime.now(UTC).timestamp()
        total += max(end, last) - began
    return round(total, 3) if seen else None
