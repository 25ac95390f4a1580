"""Speaking to a supervisor from another process: signals, never to a process that merely got its number.

The lock's file names its holder from the moment the holder announces itself; before that, and after a death, it may name a dead
one, which may be a zombie: signals to it would be taken and lost. So the pidfd is opened first, and then the lock must be held,
the file must still say the same, and the process must be alive.
"""

from __future__ import annotations

import os
import select
import signal

from runtime.file_lock import is_locked
from runtime.kernel.lock_holder import is_of_this_machine, lock_holder
from runtime.kernel.process_identity import process_started
from runtime.kernel.processes import send_signal
from runtime.state_dir import RunDir

_PATIENCE_S = 5.0
_STEP_S = 0.02


def signal_supervisor(run_dir: RunDir, signum: signal.Signals) -> bool:
    """Send *signum* to the run's supervisor. False when it has none (the run is over)."""
    pidfd = open_supervisor(run_dir)
    if pidfd is None:
        return False
    try:
        return send_signal(pidfd, signum)
    finally:
        os.close(pidfd)


def open_supervisor(run_dir: RunDir) -> int | None:
    """A pidfd of the run's supervisor; None when it has none. Waits a little for one that is about to announce itself."""
    waited = 0.0
    while is_locked(run_dir.supervisor_lock) and waited < _PATIENCE_S:
        pidfd = _open_holder(run_dir)
        if pidfd is not None:
            return pidfd
        select.select([], [], [], _STEP_S)
        waited += _STEP_S
    return None


def _open_holder(run_dir: RunDir) -> int | None:
    """A pidfd of the process that is named in the lock's file, if it lives and holds the lock."""
    announced = lock_holder(run_dir.supervisor_lock)
    pid = announced.get("pid")
    if pid is None or announced.get("started") not in (None, process_started(pid)):
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    ended = bool(select.select([pidfd], [], [], 0)[0])
    if ended or not is_locked(run_dir.supervisor_lock) or lock_holder(run_dir.supervisor_lock) != announced:
        os.close(pidfd)
        return None
    return pidfd


def other_machine(run_dir: RunDir) -> str | None:
    """The host that the supervisor is on, when that is not this one."""
    holder = lock_holder(run_dir.supervisor_lock)
    if is_of_this_machine(holder) or not is_locked(run_dir.supervisor_lock):
        return None
    return str(holder.get("host"))
