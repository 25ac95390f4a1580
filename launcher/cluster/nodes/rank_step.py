"""The job step whose tasks come for the ranks of a run that speaks MPI, and who watches it.

Slurm's PMIx and PMI2 know tasks of a step, each by a descriptor or a name of its own: so there is a task for each rank, which
hands over what it got (`rank_task.py`). `srun` is the child of a small process that says in the first node's container that no
tasks will come, when it ends before its time: the program fails of that as of any failed rank.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.cluster.nodes.step import OF_A_PERSONS_SRUN
from launcher.run.start.supervisor_start import supervisor_argv
from runtime.container.handshake import connect_socket, send
from runtime.state_dir import RunDir

_ENDS_WITHIN_S = 10.0
_WORDS = 3
"""Lines of what srun said last."""


@contextmanager
def rank_step(run_dir: RunDir, *, mpi: str, nodes: int, processes: int) -> Iterator[None]:
    """Tasks for *processes* ranks on each of the job's *nodes*, which end with the body at the latest."""
    program = Path(__file__).with_name("rank_main.py")
    argv = [*supervisor_argv(str(run_dir.root), program=program), mpi, str(nodes), str(processes)]
    watcher = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert watcher.stdin is not None
    try:
        yield
    finally:
        with suppress(OSError):
            watcher.stdin.close()  # the tasks' stdin, by way of srun
        try:
            watcher.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            watcher.terminate()
            watcher.wait()


def step_argv(argv: list[str], *, mpi: str, nodes: int, processes: int) -> list[str]:
    """The command line that runs *argv* as often as there are ranks, by their number."""
    return [
        "srun",
        f"--mpi={mpi}",
        f"--nodes={nodes}",
        f"--ntasks={nodes * processes}",
        f"--ntasks-per-node={processes}",
        "--distribution=block",
        # Tasks that hardly compute, beside the ranks: they have what the job has.
        "--overlap",
        "--overcommit",
        "--cpus-per-task=1",
        "--export=ALL",
        "--input=all",
        "--kill-on-bad-exit=0",
        "--no-kill",
        "--wait=0",
        "--chdir=/",
        "--job-name=ranks",
        *argv,
    ]


def watch(run_dir: RunDir, *, mpi: str, nodes: int, processes: int) -> int:
    """Be the process that watches the step."""
    argv = [*supervisor_argv(str(run_dir.root), program=Path(__file__).with_name("rank_main.py")), str(processes)]
    environ = {name: value for name, value in os.environ.items() if name not in OF_A_PERSONS_SRUN}
    words: list[str] = []
    try:
        with subprocess.Popen(
            step_argv(argv, mpi=mpi, nodes=nodes, processes=processes),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            text=True,
        ) as step:
            assert step.stdout is not None
            for line in step.stdout:
                print(line, end="", file=sys.stderr, flush=True)
                words = [*words[1 - _WORDS :], line.strip().removeprefix("srun: ").removeprefix("error: ")]
    except OSError as error:
        words = [f"`srun` can't be started on `{os.uname().nodename}`: {error.strerror}"]
    with suppress(OSError), connect_socket(run_dir.init_socket) as init:
        said = "; ".join(words) or "its job step has ended"
        send(init, {"task": {"refused": f"`srun --mpi={mpi}`: {said}"}})
    return 0
