"""This machine as the place where a sweep's trials run: as many side by side as there is room, each forked as it starts."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager

from launcher.run.start.fork_server import ForkServer
from launcher.sweep.place import Outcome
from launcher.sweep.room import Room
from launcher.sweep.running import RunningTrial, RunningTrials
from launcher.sweep.trial import Trial


class LocalPlace(RunningTrials):
    """Implements `place.Place`."""

    def __init__(self, room: Room, supervisors: ForkServer) -> None:
        super().__init__()
        self._room = room
        self._supervisors = supervisors
        self._woken_by: set[int] = set()

    @property
    def running(self) -> Collection[RunningTrial]:
        return tuple(self)

    def wake_on(self, fd: int) -> None:
        self._woken_by.add(fd)
        self.poller.register(fd)

    def admission_lock(self) -> AbstractContextManager[None]:
        return self._room.others.admission_lock()

    def admits(self, trial: Trial) -> bool:
        return self._room.admits(trial, self)

    def announce_demand(self, number: int | None) -> None:
        if number == 0:
            self._room.others.wait_no_longer()

    def start(self, running: RunningTrial, lock_fd: int) -> None:
        self.add(self._supervisors.supervise(running.run_dir, lock_fd), running)
        self._room.others.note_start()

    def adopt(self, running: RunningTrial) -> Outcome | None:
        return self.watch(running)

    def wait(self, timeout_ms: int) -> list[Outcome]:
        over = []
        for fd, _event in self.poller.poll(timeout_ms):
            if fd not in self._woken_by and not self.journals.woke(fd) and (ended := self.ended(fd)) is not None:
                over.append(ended)
        return over

    def node_for(self, trial: Trial) -> str | None:
        return None

    def status_words(self) -> str | None:
        return None

    def why_it_waits(self) -> str | None:
        return "waiting for room: trials of another sweep have the machine (`launch ps` shows them)"
