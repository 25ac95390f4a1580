"""What the tracker does between its fork and its end: one thread that waits for what supervisors say, for programs that connect,
and for the time at which it looks at each run's files again. It never waits for a network; each run has a thread that does
(`tracked_run.py`), and so has each of a program's connections (`gateway.py`).
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from launcher.journal.superseded import Superseded
from launcher.tracking import tracker_protocol
from launcher.tracking.tracked_run import LONGEST_END_S, TrackedRun
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir

_LOOK_S = 0.1
_LOOK_FOR_READY_S = 0.05
_SWITCH_S = 0.0005
_LISTENERS_MAX = 4
"""Descriptors that one message may bring."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A run and what belongs to it here."""

    run: TrackedRun
    channel: socket.socket
    begins_at: float
    listeners: list[socket.socket] = field(default_factory=list)
    """The container's, which wait until the run is open, or are served."""
    leaves_at: float = float("inf")
    """When a run that is over, or whose supervisor has died, is left, whatever its thread still waits for."""
    wants_to_catch_up: bool = False


class Tracker:
    """All runs that this process tracks. `serve` is its life."""

    def __init__(self, control: socket.socket | None, *, call_supervisor: Callable[[RunDir], None] | None = None) -> None:
        self._call_supervisor = call_supervisor
        self._control = control
        self._entries: list[_Entry] = []
        self._handlers: dict[int, Callable[[], None]] = {}
        self._poller = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Written by a run's thread that has opened it, or has ended."""
        self._are_complete = True
        self._register(self._wakeup, self._clear_wakeup)
        if control is not None:
            self._register(control.fileno(), partial(self._receive_run, control))
        else:
            # A run's threads share one interpreter: who answers the program waits this long at most for who talks to MLflow.
            sys.setswitchinterval(_SWITCH_S)

    def add_run(self, run_dir: RunDir, channel: socket.socket, *, token: str | None = None, pause_s: float = 0.0) -> None:
        """Track the run from now on, or after *pause_s*."""
        run = TrackedRun(run_dir, channel, token=token, wake_tracker=lambda: os.eventfd_write(self._wakeup, 1))
        entry = _Entry(run, channel, time.monotonic() + pause_s)
        self._entries.append(entry)
        self._register(channel.fileno(), lambda: self._do(entry, self._receive))
        self._do(entry, self._advance)  # a program's start waits for it

    def serve(self) -> bool:
        """Return when no run is left and none can come: whether MLflow knows everything of all."""
        while self._control is not None or self._entries:
            for fd, _events in self._poller.poll(self._wait_s()):
                if handler := self._handlers.get(fd):  # else what happened before has closed it
                    handler()
            for entry in [*self._entries]:
                self._do(entry, self._advance)
        return self._are_complete

    def _do(self, entry: _Entry, step: Callable[[_Entry], None]) -> None:
        """What fails is this run's affair: the others go on."""
        try:
            step(entry)
        except Superseded:
            entry.run.send(tracker_protocol.LEFT)
            self._remove(entry)
        except Exception:
            # Without DONE: its supervisor forks a tracker of its own.
            entry.run.write_to_log(traceback.format_exc())
            self._remove(entry)

    def _advance(self, entry: _Entry) -> None:
        run, now = entry.run, time.monotonic()
        if run.has_finished or now >= entry.leaves_at:
            self._are_complete &= run.is_complete
            if not run.has_finished:  # else it has said so itself
                run.send(tracker_protocol.LEFT)
            self._remove(entry)
        elif run.ident is None:
            if now >= entry.begins_at or run.is_ending:
                run.start()
        elif run.is_open and not run.is_ending:
            for listener in [*entry.listeners]:
                if listener.fileno() not in self._handlers:
                    self._serve_program(entry, listener)
            if entry.wants_to_catch_up:
                entry.wants_to_catch_up = False
                run.catch_up()
            run.poll(now)

    def _wait_s(self) -> float | None:
        if not self._entries:
            return None
        return _LOOK_S if all(entry.run.is_ready for entry in self._entries) else _LOOK_FOR_READY_S

    def _clear_wakeup(self) -> None:
        os.eventfd_read(self._wakeup)  # `_advance` finds what they are

    def _receive_run(self, control: socket.socket) -> None:
        """A run of another supervisor: the message is its directory, the descriptor its channel."""
        message, fds, _flags, _address = socket.recv_fds(control, tracker_protocol.MESSAGE_MAX, 1, socket.MSG_CMSG_CLOEXEC)
        if not message:
            self._close(control)
            self._control = None
        for fd in fds:  # none where no more may be open: then its supervisor sees the channel end
            self.add_run(RunDir(Path(os.fsdecode(message))), socket.socket(fileno=fd))

    def _receive(self, entry: _Entry) -> None:
        """What the run's supervisor says."""
        try:
            flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            message, fds, _flags, _address = socket.recv_fds(entry.channel, tracker_protocol.MESSAGE_MAX, _LISTENERS_MAX, flags)
        except BlockingIOError:
            return
        except ConnectionError:
            message, fds = b"", []
        entry.listeners += [socket.socket(fileno=fd) for fd in fds]
        if message == tracker_protocol.CATCH_UP:
            entry.wants_to_catch_up = True
        elif message == tracker_protocol.END:
            self._end_run(entry)
        elif not message:
            self._close(entry.channel)
            if not entry.run.is_ending:
                self._end_run(entry)
                self._replace_supervisor(entry)

    def _end_run(self, entry: _Entry) -> None:
        """The program is gone: nobody connects any more, and its network may go."""
        for listener in entry.listeners:
            self._close(listener)
        entry.listeners.clear()
        entry.leaves_at = time.monotonic() + LONGEST_END_S
        entry.run.finish()

    def _replace_supervisor(self, entry: _Entry) -> None:
        if entry.run.journal.read().is_over:
            return
        if self._call_supervisor is not None:
            self._call_supervisor(entry.run.run_dir)

    def _serve_program(self, entry: _Entry, listener: socket.socket) -> None:
        gateway = entry.run.gateway
        if gateway is None:
            self._refuse(entry, listener)
            return
        listener.setblocking(False)

        def accept() -> None:
            if not gateway.accept(listener):
                self._refuse(entry, listener)

        self._register(listener.fileno(), accept)

    def _refuse(self, entry: _Entry, listener: socket.socket) -> None:
        """Nobody can connect there any more."""
        self._close(listener)
        entry.listeners.remove(listener)

    def _remove(self, entry: _Entry) -> None:
        for each in (entry.channel, *entry.listeners):
            self._close(each)
        entry.run.finish()
        self._entries.remove(entry)

    def _register(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poller.register(fd, select.EPOLLIN)

    def _close(self, closing: socket.socket) -> None:
        """Close it, and wait for it no longer. Nothing when that was done."""
        if self._handlers.pop(closing.fileno(), None) is not None:
            self._poller.unregister(closing.fileno())
        closing.close()
