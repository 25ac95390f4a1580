"""Which events of a journal count, when a cluster may begin a run twice.

Slurm can begin a job again while the first copy of it lives on behind a broken network. Each beginning is a *placement*, named
`JOB.RESTARTS`. The journal's `placed` begins it, and every event of its processes carries its name, as a fencing token: what an
older placement writes behind the `placed` of a newer one is not read by anybody. The order of lines in the file decides, so it
does not matter what the older one knows. Events without a token are of the submitting machine, and always count.
"""

from __future__ import annotations

from launcher.journal.events import Entry, Finished, Placed, Resumed, Submitted


def token_of(job: str, restarts: int) -> str:
    return f"{job}.{restarts}"


class Fence:
    """The state of a journal read so far: whose events count from here on."""

    __slots__ = ("_closed", "_job", "placement")

    def __init__(self) -> None:
        self.placement: str | None = None
        """The placement that the run is in the hands of; the last one, when the run has ended by its own word."""
        self._job: str | None = None
        self._closed = False

    def admits(self, entry: Entry) -> bool:
        """Whether the next entry of the journal counts."""
        event, token = entry.event, entry.token
        if token is None:
            if isinstance(event, Resumed | Submitted | Finished):
                self.placement = None
                self._closed = isinstance(event, Finished)
            if isinstance(event, Resumed | Submitted):
                self._job = event.job if isinstance(event, Submitted) else None
            return True
        if isinstance(event, Placed):
            return not self._closed and self._take_over(token)
        if self._closed or token != self.placement:
            return False
        self._closed = isinstance(event, Finished)
        return True

    def _take_over(self, token: str) -> bool:
        """A copy of an older beginning may be so slow that its `placed` comes last."""
        job, restarts = _parts(token)
        known = _parts(self.placement) if self.placement is not None else (job, -1)
        if self._job not in (None, job) or (known[0] == job and restarts <= known[1]):
            return False
        self.placement = token
        return True


def _parts(token: str) -> tuple[str, int]:
    job, _, restarts = token.rpartition(".")
    return job, int(restarts) if restarts.isascii() and restarts.isdigit() and len(restarts) < 10 else 0
