"""This machine as the place where a sweep's trials run: as many side by side as there is room, each forked as it starts."""

from __future__ import annotations

import signal
from collections.abc import Collection
from contextlib import AbstractContextManager

from launcher.run.start.fork_server import ForkServer
from launcher.sweep.place import Over
from launcher.sweep.room import Room
from launcher.sweep.running import Running, RunningTrials
from launcher.sweep.trial import Trial


class ThisMachine:
    """Implements `place.Place`."""

    def __init__(self, room: Room, supervisors: ForkServer) -> None:
        self._trials = RunningTrials()
        self._room = room
        self._supervisors = supervisors
        self._woken_by: set[int] = set()

    @property
    def running(self) -> Collection[Running]:
        return tuple(self._trials)

    @property
    def number_open(self) -> int:
        return self._trials.number_open

    def wake_on(self, fd: int) -> None:
        self._woken_by.add(fd)
        self._trials.poller.register(fd)

    def deciding(self) -> AbstractContextManager[None]:
        return self._room.deciding()

    def admits(self, trial: Trial) -> bool:
        return self._room.admits(trial, self._trials)

    def wanted(self, number: int | None) -> None:
        if number == 0:
            self._room.not_needed()

    def start(self, running: Running, lock_fd: int) -> None:
        self._trials.add(self._supervisors.supervise(running.run_dir, lock_fd), running)
        self._room.taken()

    def adopt(self, running: Running) -> Over | None:
        return self._trials.watch(running)

    def wait(self, timeout_ms: int) -> list[Over]:
        over = []
        for fd, _event in self._trials.poller.poll(timeout_ms):
            if fd not in self._woken_by and not self._trials.journals.woke(fd) and (ended := self._trials.ended(fd)) is not None:
                over.append(ended)
        return over

    def node_for(self, trial: Trial) -> str | None:
        return None

    def standing(self) -> str | None:
        return None

    def why_it_waits(self) -> str | None:
        return "waiting for room: trials of another sweep have the machine (`launch ps` shows them)"

    def prune(self, number: int) -> None:
        self._trials.prune(number)

    def leave_line(self) -> None:
        self._trials.leave_line()

    def signal(self, signum: signal.Signals) -> None:
        self._trials.signal(signum)
