"""Speaking to a supervisor from another process: signals, never to a process that merely got its number.

The pidfd is opened before the lock is looked at: if the lock is then still held, the pid in its file is the holder's.
"""

from __future__ import annotations

import json
import os
import select
import signal

from runtime.file_lock import is_locked
from runtime.state_dir import RunDir

_PATIENCE_S = 5.0
_STEP_S = 0.02


def signal_supervisor(run_dir: RunDir, signum: signal.Signals) -> bool:
    """Send *signum* to the run's supervisor. False when it has none (the run is over)."""
    waited = 0.0
    while is_locked(run_dir.supervisor_lock) and waited < _PATIENCE_S:
        pidfd = _open_pidfd(run_dir)
        if pidfd is not None:
            try:
                if is_locked(run_dir.supervisor_lock):
                    signal.pidfd_send_signal(pidfd, signum)
                    return True
            except ProcessLookupError:
                return False
            finally:
                os.close(pidfd)
        # The command holds the lock and the supervisor has not written its pid yet.
        select.select([], [], [], _STEP_S)
        waited += _STEP_S
    return False


def _open_pidfd(run_dir: RunDir) -> int | None:
    try:
        return os.pidfd_open(int(json.loads(run_dir.supervisor_lock.read_text())["pid"]))
    except (FileNotFoundError, ValueError, KeyError, ProcessLookupError):
        return None
