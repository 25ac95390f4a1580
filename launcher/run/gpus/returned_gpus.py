"""The GPUs of a container to work in that its init gives back while nobody uses it (`dev.gpu_idle`): the supervisor's part.

Init closes their nodes by itself and says so (`runtime.container.staying`); the lease is given up. When somebody uses the
container again the supervisor stands in line for the same GPUs: the programs there know no others.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from launcher.errors import LaunchError
from launcher.journal.events import GpusAway, Waiting
from launcher.journal.run_journal import Journal
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.gpus.gpu_queue import Line, in_line
from runtime.container.handshake import receive, send
from runtime.container.lifecycle import Container
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import dataclass, field

if TYPE_CHECKING:
    from launcher.run.gpus.gpu_watch import GpuWatch
    from launcher.run.gpus.leases import HeldGpus

_LOOK_S = 1.0


@dataclass(slots=True)
class ReturnedGpus:
    """Of one container; a context manager that leaves the line."""

    plan: LaunchPlan
    journal: Journal
    container: Container
    held: HeldGpus
    watch: GpuWatch
    fd: int = -1
    """Readable when init says something; -1 when it has ended."""
    _is_wanted: bool = False
    _line: Line | None = None
    _in_line: ExitStack = field(default_factory=ExitStack)
    _look_at: float = 0.0

    def __enter__(self) -> ReturnedGpus:
        self.fd = self.container.control.fileno()
        if self.container.gpus in ("given back", "wanted"):
            self._hear(self.container.gpus)
        return self

    def __exit__(self, *_failure: object) -> None:
        self._in_line.close()

    def take_in(self) -> None:
        """Hear init."""
        message = receive(self.container.control)
        if message is None:
            self.fd = -1
        else:
            self._hear(message[0]["gpus"])

    def next_look_s(self) -> float | None:
        """Seconds until `look` has to be called; None: nothing is waited for."""
        return max(0.0, self._look_at - time.monotonic()) if self._is_wanted else None

    def look(self) -> None:
        """Take the GPUs if they are free, and it is this run's turn."""
        if not self._is_wanted or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_S
        try:
            self._look()
        except (LaunchError, RuntimeFailure) as error:  # one of them is lost, the driver hangs, the disk is full: that may pass
            self._say(error.message)

    def _look(self) -> None:
        leased = self.journal.read().leased
        assert leased is not None
        if self._line is None:
            line = in_line(self.plan, self.container.container_id, only=frozenset(leased.gpus))
            self._line = self._in_line.enter_context(line)
        else:
            self._line.ask_the_driver()
        found = self._line.look()
        if found is None:
            self._say(Waiting(*self._line.stands).words)
            return
        self.held.lease = found.lease
        try:
            self.journal.append(leased)
        except LaunchError:
            self.held.give_back()
            raise
        self.watch.is_away = False
        send(self.container.control, {"gpus": True}, found.lease.fds)
        self._line, self._is_wanted = None, False
        self._in_line.close()

    def _hear(self, state: str) -> None:
        self.held.give_back()
        self.watch.is_away = True
        self._is_wanted = state == "wanted"
        if self.journal.read().gpus_away is None:
            self._note(GpusAway())

    def _say(self, wait: str) -> None:
        away = self.journal.read().gpus_away
        if away is None or away.wait != wait:
            self._note(GpusAway(wait))

    def _note(self, event: GpusAway) -> None:
        with suppress(LaunchError):  # a full disk: no note is worth the container
            self.journal.append(event)
