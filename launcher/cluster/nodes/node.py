"""On a further node: the supervisor of its part of the run, which is that of a run in a directory of its own, and its link to the
first node (`link.py`), which Slurm started and whose child it is.

It runs one attempt in the container of the run's plan, with no timeout and no retries: both are the first node's affair.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from functools import partial
from typing import NoReturn

from launcher.cluster.nodes.link import Link
from launcher.cluster.nodes.rendezvous import route_from
from launcher.cluster.slurm.own_job import own_job
from launcher.errors import LaunchError
from launcher.journal.events import Placed, Queued, Resumed, Submitted
from launcher.journal.run_journal import Follower, Journal, read_state
from launcher.plan.program.environment import Rendezvous
from launcher.run.supervisor.attempt import Attempt
from launcher.run.supervisor.machine_facts import machine_facts
from launcher.run.supervisor.run_experiment import Run, run_attempts
from launcher.run.supervisor.signal_inbox import REQUESTS, SignalInbox
from launcher.run.supervisor.supervisor import supervise
from runtime.file_lock import open_locked
from runtime.kernel import processes
from runtime.kernel.lock_holder import announce_holder
from runtime.kernel.process_identity import process_started
from runtime.light_dataclasses import dataclass, replace
from runtime.state_dir import RunDir


@dataclass(frozen=True, slots=True)
class NodeArguments:
    """What the first node says on our command line."""

    attempt: int
    nodes: int
    address: str
    port: int
    interface: str | None


def main(run_dir: RunDir, arguments: NodeArguments) -> NoReturn:
    os.umask(0o077)
    node_dir = run_dir.on_node(1 + own_job().rank)
    _make(node_dir)
    answers = _redirect_output(node_dir)
    placement = own_job().placement
    journal = Follower(node_dir.journal)
    journal.look()  # what is new from here on is of this attempt
    link = os.getpid()
    supervisor = os.fork()
    if supervisor == 0:
        os.close(answers)
        processes.end_with(link, by=signal.SIGQUIT)
        _supervise(node_dir, arguments, placement)
    code = Link(node_dir, placement, supervisor, answers, journal).run()
    os._exit(code)


def _make(node_dir: RunDir) -> None:
    node_dir.place.mkdir(parents=True, exist_ok=True)
    for appended in (node_dir.metrics, node_dir.stdout, node_dir.stderr):
        appended.touch(mode=0o600)


def _redirect_output(node_dir: RunDir) -> int:
    """From here on what is printed on stdout and stderr is in supervisor.log. Returns what leads to the first node."""
    answers = os.dup(1)
    log = os.open(node_dir.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    return answers


def _supervise(node_dir: RunDir, arguments: NodeArguments, placement: str) -> NoReturn:
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        lock_fd = open_locked(node_dir.supervisor_lock)
        inbox = SignalInbox((*REQUESTS, signal.SIGQUIT))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        announce_holder(lock_fd)
        _begin(node_dir, placement)
        supervise(node_dir, Journal(node_dir.journal, placement), inbox, work=partial(_run, arguments=arguments))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def _begin(node_dir: RunDir, placement: str) -> None:
    """The journal's next life is ours: it has one for each attempt."""
    run_job = read_state(node_dir.on_node(0).journal).job
    if run_job is None:
        raise LaunchError("the run has ended meanwhile; nothing is done")
    job = placement.partition(".")[0]
    journal, pid = Journal(node_dir.journal), os.getpid()
    if journal.path.exists():
        journal.append(Resumed())
    journal.append(Submitted(run_job.engine, job))
    placed = Placed(job=job, host=os.uname().nodename, pid=pid, pid_started=process_started(pid))
    Journal(node_dir.journal, placement).append(placed)


def _run(run: Run, *, arguments: NodeArguments) -> Attempt:
    route = route_from(arguments.address, interface=arguments.interface)
    run.rendezvous = Rendezvous(run.run_dir.node, arguments.nodes, arguments.address, arguments.port, route.interface)
    run.plan = replace(run.plan, spec=replace(run.plan.spec, timeout=None, retries=0))
    run.retries_left = 0
    run.joining = None
    run.journal.append(Queued(str(run.image_digest), machine_facts(run.plan)))
    return run_attempts(run, arguments.attempt)
