"""On the node: become the supervisor of a run that another machine has written down.

The process that Slurm started is the supervisor itself. What the cluster set around it, it has: the GPUs that are left to it
(`runtime.gpu.pool`), a cgroup, an affinity mask (`plan.machine_share`).
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from launcher.cluster.last_witness import fork_witness
from launcher.run import active, supervisor
from launcher.tracking import journal
from launcher.tracking.submitted import job_of
from runtime.file_lock import open_locked
from runtime.state_dir import RunDir


def main(run_dir: RunDir) -> NoReturn:
    fork_witness(run_dir)  # before there is a lock that it would hold, too
    lock_fd = open_locked(run_dir.supervisor_lock)  # until whoever submits has written down that it did
    if job_of(journal.read(run_dir.journal)) is None:
        print("the run has ended, or was never submitted; nothing is done", file=sys.stderr)
        sys.exit(0)
    if lock_fd != supervisor.LOCK_FD:
        os.dup2(lock_fd, supervisor.LOCK_FD)
        os.close(lock_fd)
    attempt = 1 + int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    journal.append(run_dir.journal, "placed", host=socket.gethostname(), job=os.environ.get("SLURM_JOB_ID"), attempt=attempt)
    supervisor.main(run_dir, last=lambda: _leave_the_rest(run_dir))


def _leave_the_rest(run_dir: RunDir) -> None:
    """A node need not reach MLflow: the next command on a machine that does, sends what is missing (`run.recover`)."""
    from launcher.tracking.sync import is_synced

    if not is_synced(run_dir):
        active.mark_again(run_dir)
