"""The sender: a process that brings to MLflow what runs that have ended could not (`StateDir.unsent`), in the background.

There is one for a state directory on each machine, as long as something waits. Whoever finds that there is none starts it, with
the environment and so the credentials of whoever that is, and does not wait for it (`launcher.run.sending`). Each server has a
thread, which takes turns with the runs that wait for it: sweeps' own come before their trials, one that cannot be sent goes
behind the others, and one that takes long is not waited for. While a server is away the pauses grow. What sends a run is what
`launch sync` calls.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections import deque

from launcher.errors import LaunchError
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import describe
from launcher.tracking.mlflow.rest import MlflowRefused
from launcher.tracking.mlflow.sink import ParentIsComing
from launcher.tracking.sync import sync_run
from runtime.file_lock import LockBusy, locked
from runtime.kernel.lock_holder import announce_holder, is_dying, lock_holder
from runtime.state_dir import RunDir, StateDir

_LOOK_S = 1.0
"""How often the list is looked at: more may have come, and all of it may have gone."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0

_TIMEOUT_S = 30.0
"""For one answer: a local server that is just starting needs some seconds."""

_TURN_S = 60.0
"""How long the other runs of a server wait for one."""

_MOST_AT_ONCE = 4
"""Runs of one server that take longer than their turn; more wait until one of them is through."""

_HOPE_S = 3600.0
"""A sender that has brought nothing to anybody for so long ends; the next command starts another one."""

_HOPE_WITHOUT_CREDENTIALS_S = 60.0
"""The same for one that lacks credentials which the next command may have, while it is not in the middle of anything."""


def send(state: StateDir) -> None:
    """The whole life of the sender: until nothing waits, or nothing that it could send."""
    os.chdir("/")
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    left: set[str] = set()
    # Whoever finds the lock held starts no other one: so look again once it is free.
    while {run_dir.run_id for run_dir in state.unsent.own_runs()} - left:
        try:
            with locked(state.sender_lock, wait=False) as lock_fd:
                announce_holder(lock_fd)
                left = Sender(state).send()
        except LockBusy:
            if not is_dying(lock_holder(state.sender_lock)):
                return
            time.sleep(0.01)
        except FileNotFoundError:
            return  # the state directory was removed


class Sender:
    """What one sender knows: the servers that something waits for."""

    def __init__(
        self, state: StateDir, *, hope_s: float = _HOPE_S, hope_without_credentials_s: float = _HOPE_WITHOUT_CREDENTIALS_S
    ) -> None:
        self._state = state
        self._hope_s = hope_s
        self._hope_without_credentials_s = hope_without_credentials_s
        self._servers: dict[str | None, _Server] = {}

    def send(self) -> set[str]:
        """Send until nothing is left that can be. Returns the runs that are left: tried, and in vain."""
        began = time.monotonic()
        while True:
            listed = self._state.unsent.own_runs()
            self._take_in(listed)
            succeeded_at = max([began, *(server.succeeded_at for server in self._servers.values())])
            has_work = any(server.has_work for server in self._servers.values())
            hope_s = self._hope_without_credentials_s if self._is_another_wanted else self._hope_s
            if not (listed and has_work) or time.monotonic() - succeeded_at > hope_s:
                return {run_dir.run_id for run_dir in listed if self._has(run_dir)}
            time.sleep(_LOOK_S)

    @property
    def _is_another_wanted(self) -> bool:
        servers = self._servers.values()
        return any(server.lacks_credentials for server in servers) and not any(server.is_sending for server in servers)

    def _take_in(self, listed: list[RunDir]) -> None:
        for run_dir in listed:
            if not self._has(run_dir):
                uri = _uri_of(run_dir)
                if uri not in self._servers:
                    self._servers[uri] = _Server()
                    self._servers[uri].start()
                self._servers[uri].add(run_dir)

    def _has(self, run_dir: RunDir) -> bool:
        """Whether a server has it. One that was through and is on the list again has ended again, in whatever time."""
        return any(server.has(run_dir) for server in self._servers.values())


def _uri_of(run_dir: RunDir) -> str | None:
    try:
        description = describe(run_dir)
    except Exception:
        return None  # told of, with its traceback, when its turn comes
    return None if description is None else description.uri


class _Server(threading.Thread):
    """The runs that wait for one server, and the thread that sends them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.succeeded_at = 0.0
        self.lacks_credentials = False
        """For one of its runs at least."""
        self._taken: set[str] = set()
        """The runs that it was given, but for those that are through."""
        self._waiting: deque[RunDir] = deque()
        self._sending: list[_Sending] = []
        """Whose turn it is, and those whose turn was over before they were."""
        self._something_waits = threading.Condition()
        self._failures = 0
        """In a row."""
        self._pause_s = 0.0

    @property
    def has_work(self) -> bool:
        """Whether something may still be sent. What only other credentials can send doesn't count."""
        with self._something_waits:
            return bool(self._waiting or self._sending)

    @property
    def is_sending(self) -> bool:
        with self._something_waits:
            return bool(self._sending)

    def has(self, run_dir: RunDir) -> bool:
        with self._something_waits:
            return run_dir.run_id in self._taken

    def add(self, run_dir: RunDir) -> None:
        with self._something_waits:
            self._taken.add(run_dir.run_id)
            is_sweep = run_dir.tracking.exists() and not run_dir.plan.exists()
            (self._waiting.appendleft if is_sweep else self._waiting.append)(run_dir)
            self._something_waits.notify()

    def run(self) -> None:
        while True:
            sending = self._begin_next()
            sending.join(_TURN_S)
            if sending.is_alive():
                continue
            time.sleep(self._judge(sending))

    def _begin_next(self) -> _Sending:
        """Begin with the next run, when there is one, and room for it."""
        with self._something_waits:
            while not (self._waiting and len(self._sending) < _MOST_AT_ONCE):
                self._something_waits.wait(_LOOK_S)
                self._forget_slow_ones()
            sending = _Sending(self._waiting.popleft())
            self._sending.append(sending)  # before it starts: what is sent has not gone
            sending.start()
            return sending

    def _forget_slow_ones(self) -> None:
        for sending in [each for each in self._sending if not each.is_alive()]:
            self._judge(sending)

    def _judge(self, sending: _Sending) -> float:
        """What has become of it. Returns how long to wait before the next, in seconds."""
        with self._something_waits:
            self._sending.remove(sending)
            if sending.is_through:
                self._taken.discard(sending.run_dir.run_id)
                self._failures, self._pause_s, self.succeeded_at = 0, 0.0, time.monotonic()
                return 0.0
            if sending.lacks_credentials:
                self.lacks_credentials = True
            else:
                self._waiting.append(sending.run_dir)
            self._failures += 1
            if not sending.is_unreachable and self._failures < len(self._waiting):
                return 0.0  # about this run: another one may do better
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2 or _FIRST_PAUSE_S)
            return self._pause_s


class _Sending(threading.Thread):
    """One try with one run."""

    def __init__(self, run_dir: RunDir) -> None:
        super().__init__(daemon=True)
        self.run_dir = run_dir
        self._list = run_dir.state.unsent
        self.is_through = False
        """Whether it has left the list: sent, refused for good, or removed."""
        self.is_unreachable = self.lacks_credentials = False

    def run(self) -> None:
        try:
            self._send()
        except MlflowRefused as error:
            self.lacks_credentials = error.lacks_credentials
        except MlflowUnreachable as error:
            self.is_unreachable = not isinstance(error, ParentIsComing)
        except (LaunchError, OSError):  # a full disk, say; tried again
            if not self.run_dir.root.exists():
                self._list.remove(self.run_dir)
        except Exception:
            # A bug of ours, about this run: the others are sent on.
            print(f"run {self.run_dir.run_id}:", file=sys.stderr)
            traceback.print_exc()
        self.is_through = self.run_dir not in self._list

    def _send(self) -> None:
        if self.run_dir in self._list:
            sync_run(self.run_dir, timeout_s=_TIMEOUT_S)
