"""Where the trials of a sweep run: this machine (`local_place.py`) or a cluster (`launcher.cluster.trials`).

The sweep asks and decides; a place says whether there is room for one more, takes it, and tells when it has ended.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from launcher.sweep.running import RunningTrial
from launcher.sweep.trial import Trial
from launcher.tracking.record.run_record import RunRecord

Outcome = tuple[RunningTrial, RunRecord]
"""A try that has ended, and what is recorded of it."""


class Place(Protocol):
    """Where the trials of one sweep run."""

    @property
    def running(self) -> Collection[RunningTrial]:
        """The tries that have not ended, those whose record is still being sent among them."""
        ...

    @property
    def number_open(self) -> int:
        """Without those whose program has ended."""
        ...

    def wake_on(self, fd: int) -> None:
        """`wait` returns early when *fd* can be read."""
        ...

    def admission_lock(self) -> AbstractContextManager[None]:
        """Nothing else starts a trial during the body, so what `admits` says holds."""
        ...

    def admits(self, trial: Trial) -> bool:
        """Whether *trial* may start now."""
        ...

    def announce_demand(self, number: int | None) -> None:
        """Say that *number* trials would start now if there were room for them; None: some, the number is unknown."""
        ...

    def start(self, running: RunningTrial, lock_fd: int) -> None:
        """Run it, and take over the descriptor of its lock."""
        ...

    def adopt(self, running: RunningTrial) -> Outcome | None:
        """Go on with a try that an earlier process of the sweep has started. One that has ended is given back."""
        ...

    def wait(self, timeout_ms: int) -> Sequence[Outcome]:
        """Wait for something to happen. The tries that have ended."""
        ...

    def node_for(self, trial: Trial) -> str | None:
        """Where *trial*, which is admitted, will run; None on this machine."""
        ...

    def status_words(self) -> str | None:
        """For whoever watches: `6 workers on 3 nodes, 10 worker jobs pending at slurm`; None on this machine."""
        ...

    def why_it_waits(self) -> str | None:
        """What to tell a person while nothing runs, though there is work."""
        ...

    def prune(self, number: int) -> None:
        """Ask the trial to end, since it is not worth going on."""
        ...

    def leave_line(self) -> None:
        """No more are started: what merely waits waits no longer."""
        ...

    def signal(self, signum: signal.Signals) -> None:
        """To the supervisor of every try."""
        ...
