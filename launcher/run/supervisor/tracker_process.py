"""The tracker as a supervisor sees it: it speaks to MLflow, so that the supervisor never waits for a network.

What the tracker does is `launcher.tracking.tracker`, what the two say to each other `tracker_protocol`. They watch each other,
because a program that calls MLflow fails when nobody answers it for half a minute: a tracker that dies gets a successor here, and
one that sees its supervisor die has another supervisor started.

A supervisor forks a tracker for its run. The runs of a command with several share one, the *shared tracker*, as long as it lives;
those that give a tracker much to do have their own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.journal.events import ORPHANED, Note
from launcher.journal.run_journal import Journal
from launcher.tracking import tracker, tracker_protocol
from runtime.kernel.process_identity import is_stopped, process_started
from runtime.light_typing import NamedTuple
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.run.supervisor.signal_inbox import SignalInbox

END_TIMEOUT_S = 30.0
"""How long the supervisor waits for the last word of its run's tracker, which leaves to the sender what takes longer
(`launcher.tracking`): in case that it hangs in a broken disk."""

CATCH_UP_TIMEOUT_S = 30.0

_LOOK_S = 0.25
"""How often one that is waited for is looked at: it may have been stopped, and holds locks."""

_PAUSES_S = (0.0, 2.0, 10.0)
"""Before its first, second and third successor begins: what ends one at once (a full disk) may be over soon. A program waits for
half a minute."""

MOST_SUCCESSORS = len(_PAUSES_S)
"""How many trackers, and how many supervisors, a run may lose before that is taken for its own fault."""


class SharedTracker(NamedTuple):
    """A tracker for many runs."""

    control: socket.socket
    """What it is given runs through."""
    pid: int
    started: str | None


class TrackerProcess:
    """A run's tracker, and after its death the next one."""

    __slots__ = ("_channel", "_last_word", "_listener_fd", "_ready", "_run_dir", "_shared", "_token", "pid", "successors")

    def __init__(self, run_dir: RunDir, *, token: str | None = None, shared: SharedTracker | None = None) -> None:
        self._run_dir = run_dir
        self._shared = shared
        self._token = token
        self._channel: socket.socket | None
        self._last_word: bytes | None = None
        self._ready: dict[str, Any] | None = None
        self._listener_fd: int | None = None
        """The container's, as long as there is one: a successor needs it."""
        self.pid: int | None = None
        """Of a child of ours; None: it is shared."""
        self.successors = 0
        self._channel = None if shared is None else _hand_over(run_dir, shared.control)
        if self._channel is None:
            self._fork()

    @property
    def fd(self) -> int:
        """Readable when it says something, or has died: then `take_in`. -1 when there is none (any more)."""
        return -1 if self._channel is None or self._last_word is not None else self._channel.fileno()

    def take_in(self) -> None:
        """Take in what it has said. One that has died is replaced: `fd` may be another afterwards."""
        if self._receive() is None:
            self._replace()

    def wait_ready(self, *, timeout_s: float) -> dict[str, Any]:
        """What the program needs to know about its MLflow run; `{}` when tracking is off, late or failed."""
        deadline = time.monotonic() + timeout_s
        while self._ready is None and self._is_heard_before(deadline):
            self.take_in()
        return self._ready or {}

    def hand_listener(self, listener_fd: int) -> None:
        """Give the gateway's listening socket to the tracker."""
        self._listener_fd = listener_fd
        if self._channel is not None:
            with suppress(OSError):  # it has died, and its successor gets the socket
                socket.send_fds(self._channel, [tracker_protocol.LISTENER], [listener_fd])

    def catch_up(self) -> None:
        """Return when the metrics are taken in that stand in files now: some of those files are about to go. The end of a run
        waits for no tracker that has died, or hangs in a broken disk."""
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        self._send(tracker_protocol.CATCH_UP)
        while self._is_heard_before(deadline):
            if self._receive() in (tracker_protocol.CAUGHT_UP, None):
                return

    def finish(self, inbox: SignalInbox | None = None) -> bool:
        """The journal is closed: let the tracker send the rest, and wait for it, until somebody asks through *inbox* for the end
        of that. One that dies meanwhile is replaced. False when something is left that MLflow has to be told."""
        if inbox is not None:
            inbox.read()  # what was asked of the run is done
        self._listener_fd = None  # closed with the container; its number may be another file's by now
        self._send(tracker_protocol.END)
        deadline = time.monotonic() + END_TIMEOUT_S
        while self._is_heard_before(deadline, leave_fd=None if inbox is None else inbox.fd):
            if self._receive() is None and self._replace():
                self._send(tracker_protocol.END)
                deadline = time.monotonic() + END_TIMEOUT_S
        self._release()
        return self._last_word == tracker_protocol.DONE

    def _is_heard_before(self, deadline: float, *, leave_fd: int | None = None) -> bool:
        """Whether it says something, or dies, before the time is up, or *leave_fd* is readable. False also where nothing more is
        to be expected."""
        while self.fd >= 0:
            waited_for = [self.fd] if leave_fd is None else [self.fd, leave_fd]
            left_s = deadline - time.monotonic()
            ready, _, _ = select.select(waited_for, [], [], max(0.0, min(left_s, _LOOK_S)))
            if ready or left_s <= 0:
                return self.fd in ready
            self._end_stopped()
        return False

    def _end_stopped(self) -> None:
        """Kill it if it was stopped: it is as good as dead, and its successors need its locks."""
        pid, started = (self.pid, None) if self._shared is None else (self._shared.pid, self._shared.started)
        if pid is not None and is_stopped(pid, started):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _receive(self) -> bytes | None:
        """The next message, None when it has died."""
        assert self._channel is not None
        try:
            message = self._channel.recv(tracker_protocol.MESSAGE_MAX)
        except ConnectionError:
            return None
        if message.startswith(tracker_protocol.READY):
            self._ready = dict(json.loads(message.removeprefix(tracker_protocol.READY)))
        if message in (tracker_protocol.DONE, tracker_protocol.LEFT):
            self._last_word = message
        return message or None

    def _send(self, message: bytes) -> None:
        if self._channel is not None:
            with suppress(OSError):  # it has died: seen when it is listened to
                self._channel.send(message, socket.MSG_NOSIGNAL)

    def _replace(self) -> bool:
        """It has died: fork another one, which goes on where it stopped. False when that has happened too often."""
        self._release()
        if self.successors >= MOST_SUCCESSORS:
            return False
        self._fork(pause_s=_PAUSES_S[self.successors])
        self.successors += 1
        if self._listener_fd is not None:
            self.hand_listener(self._listener_fd)
        return True

    def _fork(self, *, pause_s: float = 0.0) -> None:
        """Called while this process has one thread; what else it has open is closed in the tracker."""
        self._shared = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            tracker.serve(run=(self._run_dir, theirs), token=self._token, pause_s=pause_s, call_supervisor=call_supervisor)
        theirs.close()
        self.pid = pid

    def _release(self) -> None:
        """Let it go: a child of ours ends, one that is shared may go on with the run."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)  # has ended, has done everything, or was waited for long enough
            os.waitpid(self.pid, 0)
            self.pid = None


def fork_shared_tracker() -> SharedTracker:
    """Fork a tracker for many runs, which ends when they have, and nobody can give it another one any more."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.umask(0o077)
        tracker.serve(control=theirs, call_supervisor=call_supervisor)
    theirs.close()
    control.setblocking(False)  # who finds it busy does without
    return SharedTracker(control, pid, process_started(pid))


def _hand_over(run_dir: RunDir, control: socket.socket) -> socket.socket | None:
    """Give the run to the shared tracker. Returns the channel to it; None when it has died, or doesn't keep up."""
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        socket.send_fds(control, [os.fsencode(run_dir.root)], [theirs.fileno()])
    except OSError:
        channel.close()
        return None
    finally:
        theirs.close()
    return channel


def may_share_tracker(run_dir: RunDir) -> bool:
    """Whether a tracker has so little to do for the run that it may do it for others, too: no GPUs, whose samples are many, no
    program with MLflow's client, which waits for answers, and no files to follow but the one for metrics."""
    from launcher.tracking.mlflow.description import may_use_mlflow

    plan = json.loads(run_dir.plan.read_bytes())["plan"]
    spec = plan["spec"]
    follows_files = bool(spec["metrics"]["tensorboard"] or spec["metrics"]["patterns"])
    return not (plan["gpus"] or follows_files or (spec.get("tracking") is not None and may_use_mlflow(plan)))


def call_supervisor(run_dir: RunDir) -> None:
    """In a tracker, to give a run whose supervisor has died another one. It is noted first, so that this cannot go on forever."""
    from launcher.run.recover import DEATH_WITHIN_S, recover
    from launcher.run.start.supervisor_start import spawn_supervisor

    def start(run_dir: RunDir, lock_fd: int) -> None:
        supervisor = spawn_supervisor(run_dir, lock_fd)
        threading.Thread(target=os.waitpid, args=(supervisor, 0), daemon=True).start()  # it may well end before we do

    journal = Journal(run_dir.journal)
    run = journal.read()
    if run.job is not None:
        return  # its job ends with it, and may begin again
    if run.orphaned >= MOST_SUCCESSORS:
        return
    try:
        journal.append(Note(ORPHANED))
    except LaunchError:
        return  # a full disk: the next command that looks at the run tries again
    # Our channel to it ends before it has given back its lock: what it has open is closed one by one.
    recover(run_dir, start=start, patient_until=time.monotonic() + DEATH_WITHIN_S)


def program_env(mlflow: Mapping[str, Any], port: int, token: str) -> dict[str, str]:
    """What the program needs to log to its run (docs/experiment-contract.md), by what the tracker said of it: MLflow's own
    variables, none of the launcher's credentials."""
    return {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": str(mlflow["run_id"]),
        # Without it a nested or second `start_run()` lands in experiment 0.
        "MLFLOW_EXPERIMENT_ID": str(mlflow["experiment_id"]),
        # The gateway answers at once; MLflow's default is 7 retries, about 4 minutes.
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        # The launcher samples from outside, with names of the leased GPUs only.
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
        # The gateway's address means nothing outside the run; the launcher prints the run's own.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # MLflow looks for git, which images rarely have, and says so in 15 lines. The launcher has recorded the revision.
        "GIT_PYTHON_REFRESH": "quiet",
    }
