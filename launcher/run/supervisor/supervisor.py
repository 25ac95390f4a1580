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
from typing import TYPE_CHECKING, NoReturn

from launcher.errors import LaunchError
from launcher.journal import journal
from launcher.journal.status import Reason
from launcher.plan.plan_json import from_document
from launcher.run import active
from launcher.run.start.create_run import announce_pid
from launcher.run.supervisor.attempt import Attempt, not_run
from launcher.run.supervisor.bill import bill_taken
from launcher.run.supervisor.follow import REQUESTS
from launcher.run.supervisor.late_tracker import tracker_when_needed
from launcher.run.supervisor.logs import close_holes
from launcher.run.supervisor.machine_facts import machine_facts
from launcher.run.supervisor.outcome import ExitOutcome
from launcher.run.supervisor.run_experiment import Run, next_attempt, retried, run_experiment
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.takeover import take_over
from launcher.run.supervisor.tracker_process import TrackerProcess
from launcher.tracking.record.gpu_usage import gpu_usage
from runtime.cgroup.limits import Usage
from runtime.errors import RuntimeFailure
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.run.start.sender import Sender
    from launcher.run.supervisor.peers import Joining

LOCK_FD = 3
"""The descriptor that holds `RunDir.supervisor_lock`, inherited from the command."""


def close(run_dir: RunDir, attempt: Attempt) -> None:
    """The last word of the journal."""
    outcome = attempt.outcome
    usage = {name: value for name, value in attempt.usage._asdict().items() if value is not None}
    journal.append(
        run_dir.journal,
        "finished",
        reason=str(outcome.reason),
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        message=outcome.detail,
        **({"of_the_machine": True} if outcome.of_the_machine else {}),
        usage={**usage, **gpu_usage(run_dir, journal.read(run_dir.journal), until=time.time())},
    )


def main(
    run_dir: RunDir,
    *,
    joining: Joining | None = None,
    sender: Sender | None = None,
    close: Callable[[RunDir, Attempt], None] = close,
    last: Callable[[], None] | None = None,
) -> NoReturn:
    """The whole life of a supervisor, whose last word in the journal is *close*, and which does *last* at its end; *joining*
    brings up the further nodes of a run that has some, *sender* sends the record of one that is soon over. Exits 0: the run's
    outcome stands in the journal, not in this exit code."""
    os.umask(0o077)
    os.set_inheritable(LOCK_FD, False)
    inbox = SignalInbox((*REQUESTS, signal.SIGQUIT))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    announce_pid(LOCK_FD)  # from here on signals may come
    try:
        supervise(run_dir, inbox, joining=joining, sender=sender, close=close)
        if last is not None:
            last()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def supervise(
    run_dir: RunDir,
    inbox: SignalInbox,
    *,
    joining: Joining | None = None,
    sender: Sender | None = None,
    close: Callable[[RunDir, Attempt], None] = close,
) -> None:
    """Run (or take over) the run of *run_dir* to its end, close its journal, let the tracker send the rest."""
    happened = {event.name for event in journal.since_placed(journal.read(run_dir.journal))}
    tracker = tracker_when_needed(run_dir, sender)
    if "finished" not in happened:
        attempt = guarded(lambda: _run_or_take_over(load(run_dir, inbox, tracker), joining, began="queued" in happened))
        close_holes(run_dir)
        close(run_dir, attempt)
    tracker.finish()
    if _is_finished(run_dir):
        active.unmark(run_dir)
    _confirm_layers(StateDir(run_dir.root.parent.parent))


def _is_finished(run_dir: RunDir) -> bool:
    """A cluster may begin a run's job again."""
    return any(event.name == "finished" for event in journal.since_resumed(journal.read(run_dir.journal)))


def load(run_dir: RunDir, inbox: SignalInbox, tracker: TrackerProcess) -> Run:
    """The run that is written down in *run_dir*."""
    document = json.loads(run_dir.plan.read_bytes())
    plan, identity = from_document(document["plan"]), document["identity"]
    return Run(
        run_dir,
        StateDir(run_dir.root.parent.parent),
        plan,
        Digest(document["image_digest"]),
        inbox,
        tracker,
        sweep_id=identity["sweep_id"],
        trial=identity["trial"],
        may_wait=identity.get("may_wait", True),
        retries_left=plan.spec.retries,
    )


def _run_or_take_over(run: Run, joining: Joining | None, *, began: bool) -> Attempt:
    run_dir, plan = run.run_dir, run.plan
    run.joining = joining if plan.spec.nodes > 1 else None
    events = journal.read(run_dir.journal)
    number = next_attempt(events)
    run.retries_left -= sum(event.name == "attempt" for event in journal.since_placed(events))
    with bill_taken(run_dir, run.image_digest, Store(run.state.store)):
        if began:
            return retried(run, take_over(run_dir, plan, run.inbox, run.tracker, attempt=number), number)
        journal.append(run_dir.journal, "queued", image_digest=run.image_digest, facts=machine_facts(plan))
        return run_experiment(run, number)


def _confirm_layers(state: StateDir) -> None:
    """Let the layers that this launch built reach the disk, in a process that nobody waits for: it may take a second."""
    store = Store(state.store)
    if store.has_unconfirmed() and os.fork() == 0:
        os.close(LOCK_FD)
        store.confirm()
        os._exit(0)


def guarded(body: Callable[[], Attempt]) -> Attempt:
    """A failure of ours is an outcome too: reason `launcher`, its words in the record, a bug's traceback in supervisor.log."""
    try:
        return body()
    except (LaunchError, RuntimeFailure) as error:
        return not_run(error)
    except Exception as error:
        traceback.print_exc()
        return Attempt(ExitOutcome(125, None, Reason.LAUNCHER, f"{type(error).__name__}: {error}"), Usage())
