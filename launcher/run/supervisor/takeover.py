"""A supervisor takes over a run whose supervisor died: adopt the living container, or find out how it ended.

After `kill -9` of a supervisor the container's init still holds the output pipes, the gateway's listener and the lease: another
supervisor asks it for them and goes on. When init is gone too, its exit record (or the lack of one) says how the run ended.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from launcher.journal.events import TOOK_OVER, Note, Started
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.run.gpus.leases import HeldGpus, holding, returned_gpus, watched_gpus
from launcher.run.pauses import has_frozen_processes, thaw_to_end, wait_while_paused
from launcher.run.supervisor.acquisitions import undo_all
from launcher.run.supervisor.attempt import Attempt, AttemptResult, end_of
from launcher.run.supervisor.follow import follow
from launcher.run.supervisor.logs import opened_logs
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.container import adopt, lifecycle
from runtime.container.lifecycle import Container
from runtime.container.spec import ProcessExit
from runtime.errors import ContainerError
from runtime.kernel.process_identity import process_started

if TYPE_CHECKING:
    from launcher.run.supervisor.run_experiment import Run


def take_over(run: Run, number: int) -> Attempt:
    """In the new supervisor: go on following the container of attempt *number*, or find out how it ended. Gives back what the
    dead one had taken."""
    run.journal.append(Note(TOOK_OVER))
    try:
        result = _follow_to_the_end(run, number)
        if run.plan.spec.metrics.tensorboard:
            run.tracker.catch_up()
        return end_of(result, open_cgroup(run.run_dir.cgroup_name))
    finally:
        for told in undo_all(run.run_dir):
            run.journal.append(Note(told))


def _follow_to_the_end(run: Run, number: int) -> AttemptResult:
    if run.journal.read().stopping is not None:
        thaw_to_end(run.run_dir, run.journal)
    try:
        container: Container | None = _adopted_container(run)
    except ContainerError:
        container = None
    before = run.journal.read()
    # Until it has taken anything, the record that lies there is the last attempt's.
    recorded = lifecycle.read_exit(run.run_dir.exit_record) if container is None and before.has_acquired else None
    if (container is not None or recorded is not None) and not before.has_started:
        before = _note_start(run, container, number, before)
    if container is None:
        return _result_without_container(recorded, before)
    if container.listener_fd is not None:
        run.tracker.hand_listener(container.listener_fd)
    leased = () if before.leased is None else before.leased.gpus  # leased last; its init holds the lease on
    with ExitStack() as owned:
        logs = owned.enter_context(opened_logs(run.run_dir))
        gpus = owned.enter_context(watched_gpus(run.run_dir, run.journal, run.plan, leased, begun=True))
        held = owned.enter_context(holding(HeldGpus()))
        returned = owned.enter_context(returned_gpus(run.plan, run.run_dir, run.journal, container, held, gpus))
        time_left_s = _time_left(run.plan.spec.timeout, before)
        return follow(run, container, logs, timeout_s=time_left_s, gpus=gpus, returned=returned, before=before)


def _adopted_container(run: Run) -> Container:
    """A paused container answers when it goes on."""
    while True:
        wait_while_paused(run.run_dir, run.journal, run.inbox)
        try:
            return adopt.adopt(run.run_dir.init_socket, run.run_dir.exit_record)
        except ContainerError:
            if not has_frozen_processes(run.run_dir, run.journal):
                raise


def _note_start(run: Run, container: Container | None, number: int, before: RunState) -> RunState:
    """The program's start, which the dead supervisor was killed before it could write down: it followed its last entry."""
    pid = None if container is None else container.pid
    run.journal.append(Started(number, pid, None if pid is None else process_started(pid)), at=before.acted_at)
    return run.journal.read()


def _result_without_container(recorded: ProcessExit | None, before: RunState) -> AttemptResult:
    stopping = before.stopping
    if stopping is None:
        return AttemptResult(recorded, None)
    return AttemptResult(recorded, Reason.named(stopping.reason), stopping.detail)


def _time_left(timeout_s: float | None, before: RunState) -> float | None:
    """What is left of the run's timeout: it counts from the program's start, whoever followed it then."""
    if timeout_s is None or before.started_at is None:
        return timeout_s
    now = time.time()
    return max(0.0, timeout_s - (now - before.started_at) + before.paused_s(now))
