"""The job step that brings up a supervisor on each node but the first. The command line is pure.

Its stdin is how the first node speaks to the others (srun gives each of them a copy), its stdout how they answer: a channel that
needs no port of ours, and whose end says on either side that the other one is gone. Nothing secret is on its command line: srun
hands the environment over by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.errors import LaunchError
from launcher.plan.program.environment import Rendezvous
from launcher.run.start.supervisor_start import supervisor_argv
from runtime.state_dir import RunDir

_MEANT_FOR_OTHERS = ("SLURM_LABELIO", "SLURM_STDINMODE", "SLURM_STDOUTMODE", "SLURM_STDERRMODE", "SLURM_UNBUFFEREDIO")
"""Variables by which a person's srun prints and reads otherwise."""


def start_step(run_dir: RunDir, rendezvous: Rendezvous, *, attempt: int, interface: str | None) -> subprocess.Popen[bytes]:
    """Start the supervisors of *attempt* on the nodes behind this one, the job's first. Raises LaunchError."""
    program = Path(__file__).with_name("node_main.py")
    words = [str(attempt), str(rendezvous.nodes), rendezvous.address, str(rendezvous.port), interface or ""]
    argv = step_argv(rendezvous.nodes, [*supervisor_argv(str(run_dir.root), program=program), *words], environ=os.environ)
    environ = {name: value for name, value in os.environ.items() if name not in _MEANT_FOR_OTHERS}
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
        # The step shall have all that the job has on these nodes, and nobody waits for its leave.
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
