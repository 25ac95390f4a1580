"""Whether the run has gone on without us: what a process of a placement asks before it does something that cannot be taken back.

Each look reads what was added to the journal since the last. It opens the file: between machines that is when NFS asks the server
what there is.
"""

from __future__ import annotations

import threading
from pathlib import Path

from launcher.journal.run_journal import Follower


class Superseded(BaseException):
    """Our placement has no say in the run any more. Not an Exception: nobody who deals with failures shall take it for one; it is
    seen where the work on the run began."""


class Watch:
    """Looks out for the end of *placement*'s say in the run of *journal_path*. Safe to use from several threads."""

    def __init__(self, journal_path: Path, placement: str) -> None:
        self._journal = Follower(journal_path)
        self._placement = placement
        self._lock = threading.Lock()

    def is_superseded(self) -> bool:
        """Raises OSError when the journal cannot be read."""
        with self._lock:
            return self._journal.look().placement != self._placement

    def check(self) -> None:
        """Raises Superseded, and OSError when the journal cannot be read."""
        if self.is_superseded():
            raise Superseded
