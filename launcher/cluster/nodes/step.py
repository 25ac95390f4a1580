"""The job step that brings up a supervisor on each node but the first, once those of an earlier attempt are out of the way.

Its stdin is how the first node speaks to the others (srun gives each of them a copy), its stdout how they answer: a channel that
needs no port of ours, and whose end says on either side that the other one is gone. Nothing secret is on its command line: srun
hands the environment over by itself.

A node of an earlier attempt that did not say that it ended may live on behind a broken network. It ends itself once it sees in
the run's journal that its attempt is over (`link.py`). Where it does not say so in time, it keeps the files that it has open, and
the run goes on in copies (`launcher.cluster.placement.quarantine`).
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.cluster.nodes.messages import FENCE_S
from launcher.cluster.placement.quarantine import quarantine_common_files, quarantine_node_files
from launcher.errors import LaunchError
from launcher.journal.events import Note
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason
from launcher.plan.program.environment import Rendezvous
from launcher.run.start.supervisor_start import supervisor_argv
from launcher.tracking.record.run_nodes import node_directories
from runtime.state_dir import RunDir

_OWN_END_WITHIN_S = 5 * FENCE_S
_LOOK_S = 0.1

OF_A_PERSONS_SRUN = ("SLURM_LABELIO", "SLURM_STDINMODE", "SLURM_STDOUTMODE", "SLURM_STDERRMODE", "SLURM_UNBUFFEREDIO")
"""Variables by which a person's srun prints and reads otherwise."""


def start_step(run_dir: RunDir, rendezvous: Rendezvous, *, attempt: int, interface: str | None) -> subprocess.Popen[bytes]:
    """Start the supervisors of *attempt* on the nodes behind this one, the job's first. Raises LaunchError."""
    program = Path(__file__).with_name("node_main.py")
    words = [str(attempt), str(rendezvous.nodes), rendezvous.address, str(rendezvous.port), interface or ""]
    argv = step_argv(rendezvous.nodes, [*supervisor_argv(str(run_dir.root), program=program), *words], environ=os.environ)
    environ = {name: value for name, value in os.environ.items() if name not in OF_A_PERSONS_SRUN}
    try:
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ)
    except OSError as error:
        raise LaunchError(f"`srun` can't be started on `{os.uname().nodename}`: {error.strerror}") from error


def step_argv(nodes: int, argv: Sequence[str], *, environ: Mapping[str, str]) -> list[str]:
    """The command line that runs *argv* once on each of a job's *nodes* but the first."""
    cpus = environ.get("SLURM_CPUS_PER_TASK") or _cpus_of_each(environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return [
        "srun",
        f"--nodes={nodes - 1}",
        f"--ntasks={nodes - 1}",
        "--ntasks-per-node=1",
        "--relative=1",
        # The step shall have all that the job has on these nodes, and wait for no other step of it.
        "--overlap",
        *([f"--cpus-per-task={cpus}"] if cpus else []),
        "--export=ALL",
        "--input=all",
        # The first node says when it is over, whatever becomes of one of the others.
        "--kill-on-bad-exit=0",
        "--no-kill",
        "--wait=0",
        "--mpi=none",
        "--chdir=/",
        "--job-name=nodes",
        *argv,
    ]


def _cpus_of_each(listed: str) -> str | None:
    """`8(x2)` → `8`, where a job asked for nodes and not for cores; None where they differ (`8,4`): then Slurm decides."""
    found = re.fullmatch(r"(\d+)\(x\d+\)", listed)
    return found[1] if found else None


def quarantine_earlier_nodes(run_dir: RunDir, journal: Journal, *, attempt: int, patience_s: float = _OWN_END_WITHIN_S) -> None:
    """See to it that no node of an attempt before *attempt* writes into the run any more, before its own are brought up."""
    run = journal.read()
    doubtful = [node for node in node_directories(run_dir)[1:] if not _has_ended_with_the_run(node, run)]
    deadline = time.monotonic() + patience_s
    while (living := [node for node in doubtful if not _has_ended(node)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    name = f"before-attempt-{attempt}"
    for node in living:
        quarantine_node_files(node, name)
        journal.append(Note(f"node {node.node} may still run an earlier attempt; what it writes is kept apart from the run"))
    if living:
        quarantine_common_files(run_dir, name)


def _has_ended_with_the_run(node: RunDir, run: RunState) -> bool:
    """Whether the cluster ended the job on nodes that answered, by the *run* since the node's placement began. What was before is
    of earlier placements, which may have ended well when this one did not."""
    placements = read_state(node.journal).placements
    own = run.placement_of(placements[-1].token) if placements else None
    since = [] if own is None else run.placements[run.placements.index(own) :]
    return any(end.reason != Reason.LOST for placement in since for end in placement.ends)


def _has_ended(node: RunDir) -> bool:
    """By its own journal: what the first node has of its end was written there before."""
    state = read_state(node.journal)
    has_begun = state.last_at > 0.0
    return state.is_over or not has_begun
