"""One run, from a plan and an image to an outcome: the one orchestration, a straight line. Runs in the supervisor.

Everything the run owns stands in one ExitStack, announced before it is taken (`acquisitions.py`); the journal comes first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from launcher.errors import LaunchError
from launcher.journal.events import Acquired, AttemptEnded, Note, Started
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.container_plan import container_spec
from launcher.plan.program.workdir import is_in_outputs
from launcher.run.gpus.leases import lease_gpus, returned_gpus, watched_gpus
from launcher.run.supervisor.acquisitions import acquired
from launcher.run.supervisor.attempt import Attempt, CancelledInQueue, end_of, not_run
from launcher.run.supervisor.container_layers import image_layers, writable_layer
from launcher.run.supervisor.follow import follow
from launcher.run.supervisor.logs import opened_logs
from launcher.run.supervisor.outcome import ExitOutcome, outcome_of
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.takeover import take_over
from launcher.run.supervisor.tracker_process import TrackerProcess, program_env
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import kills_on_this_machine
from runtime.cgroup.own_cgroups import new_cgroup
from runtime.container import lifecycle
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.errors import RuntimeFailure
from runtime.kernel.process_identity import process_started
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.plan.program.environment import Rendezvous
    from launcher.run.supervisor.peers import Joining

MLFLOW_READY_S = 30.0
"""How long the program's start waits for its MLflow run id before it starts without one."""


@dataclass(slots=True)
class Run:
    """What the supervisor knows about its run."""

    run_dir: RunDir
    journal: Journal
    state: StateDir
    plan: LaunchPlan
    image_digest: Digest
    inbox: SignalInbox
    tracker: TrackerProcess
    name: str | None = None
    sweep_id: str | None = None
    trial: int | None = None
    terminal: tuple[int, int] | None = None
    """Rows and columns of the one that its program gets."""
    opens: str | None = None
    """The ended run whose files a container to work in shows."""
    may_wait: bool = True
    retries_left: int = 0
    joining: Joining | None = None
    """On the first node: what brings up the others, and tasks for ranks that speak MPI; None where neither is wanted."""
    rendezvous: Rendezvous | None = None
    """On one of the others: what it was told of them."""


def run_attempts(run: Run, number: int, *, adopt: bool = False) -> Attempt:
    """Run until it succeeds, was asked to end, or `retries` are used up. Outputs and checkpoints are kept across attempts, of
    which *number* is the next. *adopt*: that attempt was another supervisor's, who has died."""
    make = take_over if adopt else run_attempt
    while True:
        try:
            attempt = make(run, number)
        except CancelledInQueue as cancelled:
            attempt = Attempt(outcome_of(ProcessExit(None, signal.SIGTERM), asked=cancelled.reason), Usage())
        except (LaunchError, RuntimeFailure) as error:
            attempt = not_run(error)
        if not _is_tried_again(run, attempt.outcome):
            return attempt
        outcome = attempt.outcome
        run.journal.append(AttemptEnded(number, str(outcome.reason), outcome.exit_code, outcome.detail))
        run.retries_left -= 1
        number, make = number + 1, run_attempt


def _is_tried_again(run: Run, outcome: ExitOutcome) -> bool:
    if run.retries_left == 0:
        return False
    if outcome.is_worth_a_retry(run.plan.spec.retry_on):
        return not run.inbox.has_received  # who was asked to end (its cluster's job may be ending) begins nothing
    if outcome.reason in (Reason.PROGRAM, Reason.OOM):
        asked = f"`retry_on=[{outcome.reason}]` asks for more"
        _note(run, f"not tried again: `retries` is for failures of the machine; {asked}")
    return False


def run_attempt(run: Run, number: int) -> Attempt:
    """One container, from lease to exit."""
    run_dir, journal, plan, store = run.run_dir, run.journal, run.plan, Store(run.state.store)
    run_dir.exit_record.unlink(missing_ok=True)  # an earlier attempt's: whoever takes over shall not take it for this one's
    with ExitStack() as owned:
        held = owned.enter_context(lease_gpus(plan, run_dir, journal, run.inbox, may_wait=run.may_wait))
        lease = held.lease
        gpus = owned.enter_context(watched_gpus(run_dir, journal, plan, () if lease is None else lease.uuids))
        if run_dir.node == 0:  # all nodes write to them: given back when the others have ended, too
            owned.enter_context(acquired(run_dir, journal, "outputs", run_dir.run_id))
        peers = owned.enter_context(run.joining(run, number)) if run.joining is not None else None
        image = store.image(run.image_digest)
        layers = image_layers(image, store, plan.spec.cluster, inbox=run.inbox, note=lambda text: _note(run, text))
        spec = container_spec(
            plan,
            image,
            store,
            run_dir,
            lease=lease,
            attempt=number,
            environ=os.environ,
            sweep_id=run.sweep_id,
            trial=run.trial,
            rendezvous=run.rendezvous if peers is None else peers.rendezvous,
            run_name=run.name,
            layers=layers.directories,
        )
        if run.terminal is not None:
            spec = _on_terminal(spec, run.terminal)
        layer_fds = owned.enter_context(writable_layer(run_dir, journal, scratch=plan.spec.cluster.scratch))
        journal.append(Acquired("cgroup", run_dir.cgroup_name))  # looked for by its name only after `kill -9`
        cgroup = owned.enter_context(new_cgroup(run_dir.cgroup_name, spec.limits))
        if spec.network == "bridge":
            owned.enter_context(acquired(run_dir, journal, "network", spec.container_id))
        logs = owned.enter_context(opened_logs(run_dir))
        if run.opens is not None:
            spec = _with_left_files(run, spec, run.opens)
        elif is_in_outputs(spec.cwd):
            _link_code(run)
        container = lifecycle.create(
            spec,
            exit_record=run_dir.exit_record,
            init_socket=run_dir.init_socket,
            held_fds=(*layers.fds, *layer_fds),
            lease_fds=lease.fds if lease else (),
            cgroup=cgroup,
            logs=logs,
        )
        owned.callback(container.close)
        owned.callback(_end, container)
        for warning in (*spec.notes, *cgroup.warnings, *container.warnings):
            _note(run, warning)
        kills_before = kills_on_this_machine()
        _start(run, container, number)
        returned = owned.enter_context(returned_gpus(plan, run_dir, journal, container, held, gpus))
        result = follow(run, container, logs, timeout_s=plan.spec.timeout, gpus=gpus, peers=peers, returned=returned)
        if plan.spec.metrics.tensorboard:
            run.tracker.catch_up()  # the working directory goes with the overlay
        own = end_of(result, cgroup, kills_before=kills_before)
        return own if peers is None else peers.verdict(own, result)


def _link_code(run: Run) -> None:
    from launcher.run.supervisor.workspace_files import link_code  # hardly any run works in its outputs

    link_code(run.run_dir.outputs, run.plan)


def _on_terminal(spec: ContainerSpec, size: Sequence[int]) -> ContainerSpec:
    """With the terminal itself to tell its size."""
    env = {name: value for name, value in spec.env.items() if name not in ("COLUMNS", "LINES")}
    return replace(spec, terminal=(size[0], size[1]), env={"TERM": os.environ.get("TERM") or "xterm", **env})


def _with_left_files(run: Run, spec: ContainerSpec, opened: str) -> ContainerSpec:
    from launcher.plan.program.dev_container import with_left_files
    from launcher.run.supervisor.left_files import layer_of_left_files

    return with_left_files(spec, layer_of_left_files(run.run_dir, run.state.run(opened), run.plan, uid=spec.uid))


def _note(run: Run, text: str) -> None:
    run.journal.append(Note(text))


def _end(container: lifecycle.Container) -> None:
    """Whatever went wrong in between: nothing of the container runs on."""
    lifecycle.kill(container)
    lifecycle.wait(container)


def _start(run: Run, container: lifecycle.Container, number: int) -> None:
    """Hand the gateway's listener to the tracker, tell the program its MLflow run, and let it go."""
    env: dict[str, str] = {}
    if container.listener_fd is not None and container.listener_port is not None and run.plan.spec.tracking is not None:
        ready = run.tracker.wait_ready(timeout_s=MLFLOW_READY_S)
        if ready.get("mlflow"):
            run.tracker.hand_listener(container.listener_fd)
            env = program_env(ready["mlflow"], container.listener_port, ready["token"])
        else:
            why = ready.get("error", "no answer")
            _note(run, f"MLflow is not there yet ({why}); the record will be sent later")
    lifecycle.start(container, env=env)
    run.journal.append(Started(number, container.pid, process_started(container.pid), tuple(container.ports)))
    run.journal.confirm_soon()
