"""The process that a run belongs to: leases, starts, follows, journals. Single-threaded, standard library, its own session.

It outlives the command and the terminal. When it is killed, init goes on holding what the container needs, and its tracker, or
the next launch command, starts another supervisor, which adopts the run (`takeover.py`).
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, NoReturn

from launcher.errors import LaunchError
from launcher.journal.events import Finished, Queued
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.plan.plan_json import from_document
from launcher.run.sending import close_run
from launcher.run.supervisor.attempt import Attempt, not_run
from launcher.run.supervisor.bill import bill_taken
from launcher.run.supervisor.logs import close_holes
from launcher.run.supervisor.machine_facts import machine_facts
from launcher.run.supervisor.outcome import ExitOutcome
from launcher.run.supervisor.run_experiment import Run, run_attempts
from launcher.run.supervisor.signal_inbox import REQUESTS, SignalInbox
from launcher.run.supervisor.tracker_process import SharedTracker, TrackerProcess, may_share_tracker
from launcher.tracking.record.gpu_usage import gpu_usage
from runtime.cgroup.limits import Usage
from runtime.errors import RuntimeFailure
from runtime.kernel.lock_holder import announce_holder
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.run.supervisor.peers import Joining

LOCK_FD = 3
"""The descriptor that holds `RunDir.supervisor_lock`, inherited from the command."""


Work = Callable[[Run], Attempt]


def run_to_the_end(run: Run) -> Attempt:
    """All attempts of a run of one's own machine, or of the first node; also of one whose supervisor has died."""
    before = run.journal.read()
    run.retries_left -= before.retries_used
    bill = nullcontext() if run.run_dir.is_dev else bill_taken(run.run_dir, run.image_digest, Store(run.state.store))
    with bill:
        if not before.is_queued:
            run.journal.append(Queued(str(run.image_digest), machine_facts(run.plan)))
        return run_attempts(run, before.next_attempt, adopt=before.is_queued)


def close(run_dir: RunDir, journal: Journal, attempt: Attempt) -> None:
    """The last word of the journal."""
    outcome = attempt.outcome
    usage = {name: value for name, value in attempt.usage._asdict().items() if value is not None}
    journal.append(
        Finished(
            reason=str(outcome.reason),
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            message=outcome.detail,
            of_the_machine=outcome.of_the_machine,
            usage={**usage, **gpu_usage(run_dir, journal.read(), until=time.time())},
        )
    )


def main(
    run_dir: RunDir,
    *,
    token: str | None = None,
    joining: Joining | None = None,
    shared_tracker: SharedTracker | None = None,
    close: Callable[[RunDir, Journal, Attempt], None] = close,
    last: Callable[[], int] | None = None,
) -> NoReturn:
    """The whole life of a supervisor, whose last word in the journal is *close*; *token* is the placement of a cluster that it
    writes for, *joining* brings up the further nodes of a run that has some, *shared_tracker* takes runs that give it little to
    do. Exits with what *last* returns, which it does at its end, else 0: the run's outcome stands in the journal."""
    os.umask(0o077)
    os.set_inheritable(LOCK_FD, False)
    inbox = SignalInbox((*REQUESTS, signal.SIGQUIT))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    announce_holder(LOCK_FD)  # from here on signals may come
    try:
        supervise(run_dir, Journal(run_dir.journal, token), inbox, joining=joining, shared_tracker=shared_tracker, close=close)
        code = 0 if last is None else last()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(code)


def supervise(
    run_dir: RunDir,
    journal: Journal,
    inbox: SignalInbox,
    *,
    work: Work = run_to_the_end,
    joining: Joining | None = None,
    shared_tracker: SharedTracker | None = None,
    close: Callable[[RunDir, Journal, Attempt], None] = close,
) -> None:
    """Do the *work* of the run of *run_dir*, close its journal, let the tracker send the rest."""
    tracker = _tracker_of(run_dir, journal.token, shared_tracker)
    if not journal.read().is_over:
        try:
            attempt = work(load(run_dir, journal, inbox, tracker, joining))
        except Exception as error:
            attempt = _failure(error)
        close_holes(run_dir)
        close(run_dir, journal, attempt)
    is_told = tracker.finish(inbox)
    if run_dir.node == 0:
        if journal.read().is_over:  # a cluster may begin a run's job again
            close_run(run_dir, is_told=is_told)
        _tidy_up(run_dir.state)


def _failure(error: Exception) -> Attempt:
    """A failure of ours is an outcome too: reason `launcher`, its words in the record, a bug's traceback in supervisor.log."""
    if isinstance(error, LaunchError | RuntimeFailure):
        return not_run(error)
    traceback.print_exception(error)
    return Attempt(ExitOutcome(125, None, Reason.LAUNCHER, f"{type(error).__name__}: {error}"), Usage())


def _tracker_of(run_dir: RunDir, token: str | None, shared_tracker: SharedTracker | None) -> TrackerProcess:
    if shared_tracker is None:
        return TrackerProcess(run_dir, token=token)
    with shared_tracker.control:  # it ends when nobody can give it a run any more
        return TrackerProcess(run_dir, shared=shared_tracker if may_share_tracker(run_dir) else None)


def load(run_dir: RunDir, journal: Journal, inbox: SignalInbox, tracker: TrackerProcess, joining: Joining | None) -> Run:
    """The run that is written down in *run_dir*."""
    document = json.loads(run_dir.plan.read_bytes())
    plan, identity = from_document(document["plan"]), document["identity"]
    return Run(
        run_dir,
        journal,
        run_dir.state,
        plan,
        Digest(document["image_digest"]),
        inbox,
        tracker,
        name=identity["name"],
        sweep_id=identity["sweep_id"],
        trial=identity["trial"],
        terminal=identity.get("terminal"),
        opens=identity.get("opens"),
        may_wait=identity.get("may_wait", True),
        retries_left=plan.spec.retries,
        joining=joining if plan.spec.nodes > 1 or plan.spec.cluster.mpi != "none" else None,
    )


def _tidy_up(state: StateDir) -> None:
    """Let the layers that this launch built reach the disk, and remove what killed builds left, in a process that nobody waits
    for: it may take a second."""
    store = Store(state.store)
    if (store.has_unconfirmed() or store.has_leftovers()) and os.fork() == 0:
        os.close(LOCK_FD)
        store.confirm()
        store.sweep()
        os._exit(0)
