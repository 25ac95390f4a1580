"""A run in the tracker. Two threads have to do with it: the tracker's own (`tracker_loop.py`) takes in what is new while the run
goes on, and never waits for a network; the run's, here, opens it, talks to MLflow, and at the end takes in and sends the rest.

It sends what is new at most twice a second, waits longer after each failure, and starts the local server when nobody listens.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from launcher.errors import LaunchError
from launcher.journal.run_journal import Journal
from launcher.journal.superseded import Superseded, Watch
from launcher.tracking import tracker_protocol, tracker_state
from launcher.tracking.gateway.own_run import OwnRun
from launcher.tracking.metrics.system_sampler import SystemSampler
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.local_sink import open_sink
from launcher.tracking.mlflow.sink import Sink
from launcher.tracking.sync import OpenRun, note_failure, open_run, words_of
from launcher.tracking.tracker_state import TrackerState
from runtime.state_dir import RunDir, StateDir

if TYPE_CHECKING:
    from launcher.tracking.gateway.gateway import Gateway

_SUPERSEDED_EVERY_S = 1.0
"""Before anything is sent, too (`rest.py`, `gateway.py`): this is for a copy that has nothing to send."""
_PUSH_EVERY_S = 0.5
_LONGEST_WAIT_S = 30.0

# How long the program's start may wait for the real id of its MLflow run. A program without MLflow's client needs none.
_PATIENCE_S = 10.0
_PATIENCE_WITHOUT_CLIENT_S = 0.05

# How long a run that may begin late is waited for: when it ends before, MLflow hears of it once, with all that it has.
_MAY_END_SOON_S = 1.0
_FIRST_SAMPLE_AFTER_S = 0.3
"""Of such a run, too: a trial of a moment has no use for samples."""

LONGEST_END_S = 10.0
"""How long the sending of a run that is over is waited for, files included; the rest is left to the sender. So long it tries to
reach the local server, which may be starting; another one is asked once."""


class TrackedRun(threading.Thread):
    """The run's thread, and what the tracker's thread does for it: `poll`, `catch_up`, `finish`."""

    def __init__(
        self, run_dir: RunDir, channel: socket.socket, *, token: str | None = None, wake_tracker: Callable[[], None]
    ) -> None:
        """*token* is the placement of a cluster that the run is tracked for. *wake_tracker* is called when the run is open, and
        when it has ended."""
        super().__init__(daemon=True)
        self.run_dir = run_dir
        self._channel = channel
        self.journal = Journal(run_dir.journal, token)
        self._watch = None if token is None else Watch(run_dir.on_node(0).journal, token)
        self._wake_tracker = wake_tracker
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._ready = threading.Lock()
        """Held for ever by who has sent READY."""
        self._ready_by = 0.0
        self._samples_from = 0.0
        self._looks_again_at = 0.0
        self._sizes = (-1, -1)
        self._error: LaunchError | None = None
        """Why the last try has failed."""
        self._is_given_up = False
        """Whether another one would fail alike."""
        self._open: OpenRun | None = None
        self._sink: Sink | None = None
        self._own: OwnRun | None = None
        self._sampler: SystemSampler | None = None
        self._gateway: Gateway | None = None
        self.has_finished = False
        """Whether the thread has done what it could, or has failed."""
        self.is_complete = False
        """Whether MLflow knows everything there is to know."""

    # What the tracker's thread asks for

    @property
    def is_open(self) -> bool:
        return self._open is not None

    @property
    def is_ready(self) -> bool:
        return self._ready.locked()

    @property
    def is_ending(self) -> bool:
        return self._ending.is_set()

    @property
    def gateway(self) -> Gateway | None:
        """What answers the program; None when the run is not tracked."""
        if self._gateway is None and self._sink is not None and self._own is not None:
            # Not before somebody asks: the program's start waits for READY, and for none of the gateway's modules.
            from launcher.tracking.gateway.gateway import Gateway

            self._gateway = Gateway(self._sink, self._own, self._sink.state.token, watch=self._watch)
        return self._gateway

    def poll(self, now: float) -> None:
        """Take in what is new. Raises Superseded."""
        if self._open is None or self.is_ending:
            return
        if self._sink is not None and now >= self._ready_by:
            self._send_ready()
        if self._watch is not None and now >= self._looks_again_at:
            self._looks_again_at = now + _SUPERSEDED_EVERY_S
            with suppress(OSError):  # a journal that cannot be read now; before each request it has to be
                self._watch.check()
        self._follow(self._open)
        if self._sampler is None:
            return
        if now >= self._samples_from:
            with suppress(LaunchError, OSError):  # a full disk: a sample is missing, and the program is answered on
                self._sampler.sample_when_due()
        sizes = (_size(self.run_dir.journal), _size(self.run_dir.logged) + _size(self.run_dir.system_metrics))
        if sizes != self._sizes:
            self._sizes = sizes
            self._woken.set()

    def catch_up(self) -> None:
        """Take in what stands in files now: some of those files are about to go."""
        if self._open is not None and not self.is_ending:
            self._follow(self._open, to_the_end=True)
        self.send(tracker_protocol.CAUGHT_UP)

    def finish(self) -> None:
        """There is nothing more to look at: the thread takes in the rest, sends it, and ends."""
        self._ending.set()
        self._woken.set()

    def send(self, message: bytes) -> None:
        """To the supervisor, unless nobody waits any longer."""
        with suppress(OSError):
            self._channel.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    # What the run's thread does

    def run(self) -> None:
        try:
            self._track()
        except Superseded:
            self.send(tracker_protocol.LEFT)
        except BaseException:
            # Without a last word: the supervisor, which sees the channel end, forks another tracker.
            self.write_to_log(traceback.format_exc())
        else:
            self.send(tracker_protocol.DONE if self.is_complete or self._is_given_up else tracker_protocol.LEFT)
        self.has_finished = True
        self._wake_tracker()

    def _track(self) -> None:
        with open_run(self.run_dir) as run:
            if run.description is None:
                self._follow_untracked(run, TrackerState(), {"mlflow": None})
                self.is_complete = True
                return
            try:
                sink = open_sink(self.run_dir, run.description, watch=self._watch)
            except LaunchError as error:
                self._error = error
                self._follow_untracked(run, tracker_state.load(self.run_dir), {"error": error.message})
                return
            with closing(sink.client):
                self._begin(run, sink)
                self._send_until_the_end(run, sink)
                self.is_complete = sink.is_complete()
                if not self.is_complete:
                    self._complete_record(run)  # what is sent whole has completed it
                self._write_warnings(run, sink.state)

    def _follow_untracked(self, run: OpenRun, state: TrackerState, ready: dict[str, object]) -> None:
        self._ready.acquire(blocking=False)
        self.send(tracker_protocol.READY + json.dumps(ready).encode())
        self._open = run
        self._wake_tracker()
        self._ending.wait()
        self._follow(run, to_the_end=True)
        self._complete_record(run)
        self._write_warnings(run, state)

    def _begin(self, run: OpenRun, sink: Sink) -> None:
        description, state = sink.description, sink.state
        # A program that was adopted from a dead supervisor still has the token and the id that it was given then.
        if not (state.token and state.provisional_id):
            state.token = state.token or tracker_state.new_token()
            state.provisional_id = state.provisional_id or tracker_state.new_run_id()
            with suppress(OSError):  # a full disk; each answer of MLflow writes it again
                tracker_state.save(self.run_dir, state)
        now = time.monotonic()
        self._ready_by = now + (_PATIENCE_S if description.may_use_mlflow else _PATIENCE_WITHOUT_CLIENT_S)
        self._samples_from = now + (_FIRST_SAMPLE_AFTER_S if sink.may_begin_late else 0.0)
        self._own = OwnRun(description, run.log, ignored=sink.refused)
        self._sampler = SystemSampler(self.run_dir, description, self.journal)
        self._sink = sink
        self._open = run
        self._wake_tracker()

    def _send_until_the_end(self, run: OpenRun, sink: Sink) -> None:
        wait_s = give_up_at = 0.0
        is_ending = False
        if sink.may_begin_late:
            self._send_ready()
            self._ending.wait(_MAY_END_SOON_S)
        while True:
            if not is_ending and self._ending.is_set():
                # Before the step: what it sends is then everything.
                is_ending = True
                self._follow(run, to_the_end=True)
                may_start = isinstance(sink.address, LocalAddress) and self.journal.read().is_over
                give_up_at = time.monotonic() + (LONGEST_END_S if may_start else 0)
            try:
                self._step(sink, is_ending=is_ending)
                self._note_failure(sink, None)
                wait_s = 0.0
            except LaunchError as error:
                self._note_failure(sink, error)
                wait_s = min(_LONGEST_WAIT_S, wait_s * 2 or 0.25)
                if isinstance(error, MlflowUnreachable) and self._watch is None:
                    self._start_server(sink)
                else:
                    # A refusal stays one: asking again at the end of the run would only take time. And what a job does not reach,
                    # it may never reach; nor does it start a local server, since two must not have one database.
                    self._send_ready()
                    give_up_at = 0.0
            except Exception as error:
                # A bug of ours: the run goes on, its record stays complete here, and the traceback is in supervisor.log.
                self.write_to_log(traceback.format_exc())
                self._note_failure(sink, LaunchError(f"{type(error).__name__}: {error}"))
                wait_s = _LONGEST_WAIT_S
                self._send_ready()
                give_up_at = 0.0
            if is_ending:
                if self._error is None or time.monotonic() > give_up_at:
                    return
                time.sleep(min(wait_s, 1.0))
                continue
            self._ending.wait(max(wait_s, _PUSH_EVERY_S))
            if not wait_s:
                self._woken.wait()
                self._woken.clear()

    def _step(self, sink: Sink, *, is_ending: bool) -> None:
        if not self._ready.locked():
            with sink.lock:
                sink.create()
            self._send_ready()
            if not is_ending:
                return  # the first push follows a moment later, when the program most likely runs
        sink.push()
        sink.push_files()

    def _note_failure(self, sink: Sink, error: LaunchError | None) -> None:
        """Remember it, and let others see that MLflow lacks something, or does no more (`lack.py`)."""
        self._error = error
        with sink.lock, suppress(OSError):
            if bool(sink.state.failure) != bool(error):
                note_failure(sink.state, error)
                tracker_state.save(self.run_dir, sink.state)

    def _send_ready(self) -> None:
        """Once: MLflow has created the run, or has said that it won't, or takes too long."""
        assert self._sink is not None
        assert self._own is not None
        if self._ready.acquire(blocking=False):
            state = self._sink.state
            known = dict(self._sink.run) or {**self._own.info({}, state.provisional_id), "provisional": True}
            self.send(
                tracker_protocol.READY
                + json.dumps({"mlflow": known, "token": state.token, "error": words_of(self._error)}).encode()
            )

    def _start_server(self, sink: Sink) -> None:
        # Who removed the run, or all of LAUNCH_HOME, does not want it back.
        if isinstance(sink.address, LocalAddress) and self.run_dir.root.exists():
            from launcher.tracking.mlflow.local_server import start_in_background

            start_in_background(StateDir(sink.address.state_root))

    def _complete_record(self, run: OpenRun) -> None:
        """Of a run that is over, whether MLflow is told of it or not. It is the first node's that all nodes have."""
        if self.run_dir.node or not self.journal.read().is_over:
            return
        from launcher.tracking.record import record_files

        try:
            record_files.write(self.run_dir)
        except LaunchError as error:
            run.log.note(error.message)

    def _follow(self, run: OpenRun, *, to_the_end: bool = False) -> None:
        try:
            run.follow(to_the_end=to_the_end)
        except (LaunchError, OSError) as error:
            # A full disk: what the program wrote is still in its file, and the next look may find room.
            run.log.note(str(error))

    def _write_warnings(self, run: OpenRun, state: TrackerState) -> None:
        """Write down what the end of the run should say (`lack.warnings`), and say it in supervisor.log."""
        state.notes = run.log.notes or state.notes
        note_failure(state, self._error)
        self._is_given_up = state.is_given_up
        try:
            if state.notes or state.failure:
                tracker_state.save(self.run_dir, state)
        except OSError as error:
            state.failure = state.failure or f"cannot write `{self.run_dir.tracker_state}`: {error.strerror}"
        self.write_to_log("".join(f"tracker: {words}\n" for words in (*state.notes, *state.refused, state.failure) if words))

    def write_to_log(self, text: str) -> None:
        """Into the run's supervisor.log: the tracker may be that of other runs, too."""
        if text:
            with suppress(OSError), self.run_dir.supervisor_log.open("a") as log:
                log.write(text)


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
