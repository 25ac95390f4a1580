"""On the node: become the supervisor of a run that another machine has written down.

The process that Slurm started is the supervisor itself. What the cluster set around it, it has: the GPUs that are left to it
(`runtime.gpu.visible_devices`), a cgroup, an affinity mask (`plan.machine_share`). Slurm may begin a job again whose first copy
lives on: each beginning is a placement (`launcher.journal.fencing`), and the newest has the run.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from launcher.cluster.placement.quarantine import remove_superseded
from launcher.cluster.placement.requeue_check import close_or_requeue
from launcher.cluster.placement.stale_placements import take_ownership
from launcher.cluster.placement.watchdog import fork_watchdog
from launcher.cluster.slurm.own_job import own_job, this_node
from launcher.journal.events import Placed
from launcher.journal.run_journal import Journal, read_state
from launcher.run.supervisor import supervisor
from launcher.run.supervisor.attempt import Attempt
from runtime.file_lock import LockBusy, is_locked, open_locked
from runtime.kernel.process_identity import process_started
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.run.supervisor.peers import Peers
    from launcher.run.supervisor.run_experiment import Run

_LOOK_S = 0.02
_LOCK_WITHIN_S = 60.0


def main(run_dir: RunDir, *, close: Callable[[RunDir, Journal, Attempt], None] = close_or_requeue) -> NoReturn:
    """*close* writes the last word of this placement."""
    own = own_job()
    if not _is_ours(run_dir, own.job):
        _leave("the run has ended, or was never submitted; nothing is done")
    _place(run_dir, own.job, own.placement)
    fork_watchdog(run_dir, own.placement)  # before there is a lock that it would hold, too
    _take_lock(run_dir)
    supervisor.main(run_dir, token=own.placement, joining=_join, close=close, last=lambda: _end(run_dir))


@contextmanager
def _join(run: Run, number: int) -> Iterator[Peers | None]:
    """What attempt *number* has beside its first node: the other nodes, and a task of Slurm's for each rank that speaks MPI."""
    spec, peers = run.plan.spec, None
    with ExitStack() as owned:
        if spec.nodes > 1:
            from launcher.cluster.nodes.peers import bring_up_peers

            peers = owned.enter_context(bring_up_peers(run, number))
        if spec.cluster.mpi != "none":
            from launcher.cluster.nodes.rank_step import rank_step

            owned.enter_context(rank_step(run.run_dir, mpi=spec.cluster.mpi, nodes=spec.nodes, processes=run.plan.processes))
        yield peers


def _is_ours(run_dir: RunDir, job: str) -> bool:
    """Wait until whoever submits has written down that it did. False when the run is not this job's (any more): another one has
    it by now, whoever holds the lock."""
    while True:
        submitting = is_locked(run_dir.supervisor_lock)
        submitted = read_state(run_dir.journal).job
        if submitted is not None:
            return submitted.job == job
        if not submitting:
            return False
        time.sleep(_LOOK_S)


def _place(run_dir: RunDir, job: str, placement: str) -> None:
    """Take the run over from the placement that had it, if there was one."""
    journal = Journal(run_dir.journal, placement)
    before = journal.read()
    reopens = bool(before.placements and before.placements[-1].is_open)
    pid = os.getpid()
    journal.append(
        Placed(
            job=job,
            host=socket.gethostname(),
            node=this_node(),
            attempt=before.next_attempt + reopens,
            pid=pid,
            pid_started=process_started(pid),
        )
    )
    if journal.read().placement != placement:
        _leave("the job has begun again elsewhere; nothing is done")
    take_ownership(run_dir, journal, before)


def _take_lock(run_dir: RunDir) -> None:
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            lock_fd = open_locked(run_dir.supervisor_lock, wait=False)
            break
        except LockBusy as busy:
            if time.monotonic() > deadline:
                _leave(f"{busy}; nothing is done")
            time.sleep(_LOOK_S)
    if lock_fd != supervisor.LOCK_FD:
        os.dup2(lock_fd, supervisor.LOCK_FD)
        os.close(lock_fd)


def _leave(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(0)


def _end(run_dir: RunDir) -> int:
    """Tidy up after a run that is over. Returns the job's exit code, which is the run's: `--dependency=afterok` and
    `--mail-type=FAIL` go by it. 0 of one that the cluster begins again."""
    finished = read_state(run_dir.journal).finished
    if finished is None:
        return 0
    remove_superseded(run_dir)
    return finished.exit_code
