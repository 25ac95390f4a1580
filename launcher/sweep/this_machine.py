"""This machine as the place where a sweep's trials run: as many side by side as there is room, each forked as it starts."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager

from launcher.run.fork_server import ForkServer
from launcher.sweep.place import Over
from launcher.sweep.room import Room
from launcher.sweep.running import Running, RunningTrials
from launcher.sweep.trial import Trial


class ThisMachine:
    """Implements `place.Place`."""

    def __init__(self, room: Room, supervisors: ForkServer) -> None:
        self.running = RunningTrials()
        self._room = room
        self._supervisors = supervisors
        self._woken_by: set[int] = set()

    @property
    def number_open(self) -> int:
        return self.running.number_open

    def wake_on(self, fd: int) -> None:
        self._woken_by.add(fd)
        self.running.poller.register(fd)

    def deciding(self) -> AbstractContextManager[None]:
        return self._room.deciding()

    def admits(self, trial: Trial) -> bool:
        return self._room.admits(trial, self.running)

    def wanted(self, number: int | None) -> None:
        if number == 0:
            self._room.not_needed()

    def start(self, running: Running, lock_fd: int) -> None:
        self.running.add(self._supervisors.supervise(running.run_dir, lock_fd), running)
        self._room.taken()

    def adopt(self, running: Running) -> Over | None:
        return self.running.watch(running)

    def wait(self, timeout_ms: int) -> list[Over]:
        over = []
        for fd, _event in self.running.poller.poll(timeout_ms):
            if fd not in self._woken_by and not self.running.journals.woke(fd) and (ended := self.running.ended(fd)) is not None:
                over.append(ended)
        return over

    def why_it_waits(self) -> str | None:
        return "waiting for room: trials of another sweep have the machine (`launch ps` shows them)"

    def prune(self, number: int) -> None:
        self.running.prune(number)

    def leave_line(self) -> None:
        self.running.leave_line()

    def signal(self, signum: signal.Signals) -> None:
        self.running.signal(signum)
