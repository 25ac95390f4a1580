"""What something that watches a run asks of its supervisor."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.journal.status import Reason


@dataclass(frozen=True, slots=True)
class Demand:
    """The run is to end."""

    reason: Reason
    detail: str
