"""What the tracker does between its fork and its end. Two threads and the gateway's: one watches the run, one talks to MLflow.

The watcher never waits for a network. The talker (`Pusher`) sends what is new at most twice a second, waits longer after each
failure, and starts the local server when nobody listens.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.journal import journal
from launcher.journal.superseded import leave_if_superseded
from launcher.tracking import tracker, tracker_state
from launcher.tracking.metrics.metric_files import MetricFile, metric_files
from launcher.tracking.metrics.metric_log import Observed
from launcher.tracking.metrics.system_sampler import SystemSampler
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import Description, current_status, describe
from launcher.tracking.mlflow.local_sink import open_sink
from launcher.tracking.mlflow.own_run import OwnRun
from launcher.tracking.mlflow.sink import Sink
from launcher.tracking.sync import lock_path
from runtime.file_lock import locked
from runtime.state_dir import RunDir, StateDir

if TYPE_CHECKING:
    from launcher.tracking.gateway.gateway import Gateway

_POLL_S = 0.1
_SUPERSEDED_EVERY_S = 1.0
"""Before anything is sent, too (`mlflow_connection`, `gateway`): this is for a copy that has nothing to send."""
_SWITCH_S = 0.0005
_PUSH_EVERY_S = 0.5
_LONGEST_WAIT_S = 30.0

# How long the program's start may wait for the real id of its MLflow run. A program without MLflow's client needs none.
_PATIENCE_S = 10.0
_PATIENCE_WITHOUT_CLIENT_S = 0.05

# How long a run that may begin late is waited for: when it ends before, MLflow hears of it once, with all that it has.
_MAY_END_SOON_S = 1.0

# How long a run that is over may take to reach a server that doesn't answer, before that is left to `launch sync`.
_LAST_TRIES_S = 10.0


def run(run_dir: RunDir, *, channel: socket.socket | None, ready_fd: int, alive_fd: int) -> int:
    """Returns 0 when MLflow knows everything there is to know."""
    with locked(lock_path(run_dir)):
        observed = Observed(run_dir)
        description = describe(run_dir)
        if description is None:
            _say(ready_fd, {"mlflow": None})
            _watch(run_dir, observed, channel=channel, alive_fd=alive_fd)
            _complete_record(run_dir, observed)
            _leave_word(run_dir, tracker_state.load(run_dir), observed)
            return 0
        try:
            sink = open_sink(run_dir, description)
        except LaunchError as error:
            _say(ready_fd, {"error": error.message})
            _watch(run_dir, observed, channel=channel, alive_fd=alive_fd)
            _complete_record(run_dir, observed)
            _leave_word(run_dir, tracker_state.load(run_dir), observed, failure=error.message)
            return 1
        return _track(run_dir, description, observed, sink, channel=channel, ready_fd=ready_fd, alive_fd=alive_fd)


def is_over(run_dir: RunDir) -> bool:
    """Whether the run's journal has its last word."""
    return current_status(journal.read(run_dir.journal))[0].is_final


def _track(
    run_dir: RunDir,
    description: Description,
    observed: Observed,
    sink: Sink,
    *,
    channel: socket.socket | None,
    ready_fd: int,
    alive_fd: int,
) -> int:
    # Two threads and more share one interpreter: whoever answers the program waits this long at most for who talks to MLflow.
    sys.setswitchinterval(_SWITCH_S)
    state = sink.state
    # A program that was adopted from a dead supervisor still has the token and the id that it was given then.
    if not (state.token and state.provisional_id):
        state.token = state.token or tracker_state.new_token()
        state.provisional_id = state.provisional_id or tracker_state.new_run_id()
        with contextlib.suppress(OSError):  # a full disk; each answer of MLflow writes it again
            tracker_state.save(run_dir, state)
    pusher = Pusher(sink)
    pusher.start()
    own = OwnRun(description, observed)
    pusher.answered.wait(_PATIENCE_S if description.may_use_mlflow else _PATIENCE_WITHOUT_CLIENT_S)
    known = dict(sink.run) or {**own.info({}, state.provisional_id), "provisional": True}
    _say(ready_fd, {"mlflow": known, "token": state.token, "error": pusher.failure})
    # After the answer: the program's start waits for it, and for none of the gateway's modules.
    from launcher.tracking.gateway.gateway import Gateway

    serving = Serving(pusher, Gateway(sink, own, state.token), SystemSampler(run_dir, description))
    _watch(run_dir, observed, serving, channel=channel, alive_fd=alive_fd)
    _complete_record(run_dir, observed)
    complete = pusher.finish(patiently=is_over(run_dir))
    _leave_word(run_dir, state, observed, failure="" if complete else pusher.failure or "")
    return 0 if complete else 1


def _complete_record(run_dir: RunDir, observed: Observed) -> None:
    """Of a run that is over, whether MLflow is told of it or not. It is the first node's that all nodes have."""
    if run_dir.node or not is_over(run_dir):
        return
    from launcher.tracking.record import record_files

    try:
        record_files.write(run_dir)
    except LaunchError as error:
        observed.note(error.message)


def _leave_word(run_dir: RunDir, state: tracker_state.TrackerState, observed: Observed, *, failure: str = "") -> None:
    """Write down what the end of the run should say (`tracker_state.warnings`), and say it in supervisor.log."""
    state.notes, state.failure = observed.notes or state.notes, failure
    try:
        if state.notes or state.failure:
            tracker_state.save(run_dir, state)
    except OSError as error:
        state.failure = state.failure or f"cannot write `{run_dir.tracker_state}`: {error.strerror}"
    for words in (*state.notes, *state.refused, state.failure):
        if words:
            print(f"tracker: {words}", file=sys.stderr)


@dataclass(slots=True)
class Serving:
    """What a tracked run has beside its metrics file."""

    pusher: Pusher
    gateway: Gateway
    sampler: SystemSampler


def _watch(
    run_dir: RunDir, observed: Observed, serving: Serving | None = None, *, channel: socket.socket | None, alive_fd: int
) -> None:
    """Until the supervisor is done or dead: take in listeners, metrics and samples."""
    files = metric_files(run_dir, observed)
    seen = (-1, -1)
    looks_again_at = 0.0
    while True:
        waiting_for: list[Any] = [alive_fd] if channel is None else [alive_fd, channel]
        readable, _, _ = select.select(waiting_for, [], [], _POLL_S)
        if channel is not None and channel in readable:
            words = _take_in(channel, serving)
            if tracker.CATCH_UP in words:
                _follow_metrics(files, observed, to_the_end=True)
                _answer(channel)
            if not words:
                channel = None
        if time.monotonic() >= looks_again_at:
            with contextlib.suppress(OSError):  # a journal that cannot be read now; before each request it has to be
                leave_if_superseded()
            looks_again_at = time.monotonic() + _SUPERSEDED_EVERY_S
        ended = alive_fd in readable
        _follow_metrics(files, observed, to_the_end=ended)
        if ended:
            return
        if serving is None:
            continue
        with contextlib.suppress(LaunchError, OSError):  # a full disk: a sample is missing, and the program is answered on
            serving.sampler.sample_when_due()
        now = (_size(run_dir.journal), _size(run_dir.logged) + _size(run_dir.system_metrics))
        if now != seen:
            seen = now
            serving.pusher.wake()


def _follow_metrics(files: Sequence[MetricFile], observed: Observed, *, to_the_end: bool) -> None:
    try:
        for file in files:
            file.follow(to_the_end=to_the_end)
        observed.write_last_metrics(at_once=to_the_end)
    except (LaunchError, OSError) as error:
        # A full disk: what the program wrote is still in its file, and the next look may find room.
        if not observed.notes:
            observed.notes.append(str(error))


def _take_in(channel: socket.socket, serving: Serving | None) -> bytes:
    """What the supervisor says, its listeners given to the gateway; empty when it will say no more."""
    words, descriptors, _, _ = socket.recv_fds(channel, 16, 4)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        if serving is not None:
            serving.gateway.serve(listener)
    return words


def _answer(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):  # nobody waits any longer
        channel.send(tracker.CATCH_UP)


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _say(ready_fd: int, document: dict[str, object]) -> None:
    try:
        os.write(ready_fd, json.dumps(document).encode() + b"\n")
    except BrokenPipeError:
        return  # the supervisor is gone; alive_fd says so next
    finally:
        os.close(ready_fd)


class Pusher(threading.Thread):
    """Brings MLflow up to date whenever it is woken."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(daemon=True)
        self._sink = sink
        self._woken = threading.Event()
        self._finishing = threading.Event()
        self._deadline = 0.0
        self.answered = threading.Event()
        """Set when MLflow has created the run, or has said that it won't."""
        self.failure: str | None = None

    def wake(self) -> None:
        self._woken.set()

    def finish(self, *, patiently: bool) -> bool:
        """Send the rest; True when MLflow has everything. *patiently*: the run is over, a slow server gets some time."""
        self._deadline = time.monotonic() + (_LAST_TRIES_S if patiently else 0)
        self._finishing.set()
        self._woken.set()
        self.join(None if patiently else _LAST_TRIES_S)
        return self._sink.is_complete()

    def run(self) -> None:
        wait_s = 0.0
        if self._sink.may_begin_late:
            self.answered.set()
            self._finishing.wait(_MAY_END_SOON_S)
        while True:
            # Asked before the step: what it sends is then everything.
            finishing = self._finishing.is_set()
            try:
                self._step(finishing=finishing)
                self.failure, wait_s = None, 0.0
            except LaunchError as error:
                self.failure = f"{error.message}; {error.hint}" if error.hint else error.message
                wait_s = min(_LONGEST_WAIT_S, wait_s * 2 or 0.25)
                if isinstance(error, MlflowUnreachable) and journal.signature() is None:
                    self._start_server()
                else:
                    # A refusal stays one: asking again at the end of the run would only take time. And what a job does not reach,
                    # it may never reach; nor does it start a local server, since two must not have one database.
                    self.answered.set()
                    self._deadline = 0.0
            except Exception as error:
                # A bug of ours: the run goes on, its record stays complete here, and the traceback is in supervisor.log.
                traceback.print_exc()
                self.failure, wait_s = f"{type(error).__name__}: {error}", _LONGEST_WAIT_S
                self._deadline = 0.0
                self.answered.set()
            if finishing:
                if self._is_over():
                    return
                time.sleep(min(wait_s, 1.0))
                continue
            self._finishing.wait(max(wait_s, _PUSH_EVERY_S))
            if not wait_s:
                self._woken.wait()
                self._woken.clear()

    def _step(self, *, finishing: bool) -> None:
        if not self.answered.is_set():
            with self._sink.lock:
                self._sink.create()
            self.answered.set()
            if not finishing:
                return  # the first push follows a moment later, when the program most likely runs
        self._sink.push()

    def _is_over(self) -> bool:
        return self.failure is None or time.monotonic() > self._deadline

    def _start_server(self) -> None:
        address = self._sink.address
        # Who removed the run, or all of LAUNCH_HOME, does not want it back.
        if isinstance(address, LocalAddress) and self._sink.run_dir.root.exists():
            from launcher.tracking.mlflow.local_server import start_in_background

            start_in_background(StateDir(address.state_root))
