"""A run that was asked to end before it began."""

from __future__ import annotations

from launcher.journal.status import Reason


class Withdrawn(Exception):
    """The run was asked to end while it waited in line."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
