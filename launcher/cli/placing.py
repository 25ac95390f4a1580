"""Where a run goes that has been written down, and where one is that was: this machine, or a cluster's engine.

A place is what a command does with a run, whoever has it; what else is known of the run stands in its directory (decision 273).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan
    from launcher.run.start.fork_server import ForkServer
    from launcher.tracking.record.run_record import RunRecord


class Place(Protocol):
    """Of one run. `this_machine.py`, `cluster_run.py` and, for whole sweeps, `sweep/place.py` have them."""

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        """Show the run to its end, of what it said so far the last *tail* lines or everything; what *inbox* receives is passed on
        to it. Returns the exit code of `launch`."""
        ...

    def until_it_ends(self) -> Iterator[None]:
        """Yields when the run may have said something, and once more when it has ended."""
        ...

    def end(self, signum: signal.Signals) -> None:
        """Have its supervisor hear *signum*; take it out of the line when it has none yet."""
        ...


def place(supervisors: ForkServer, plan: LaunchPlan, run_dir: RunDir, lock_fd: int, *, quiet: bool) -> Place:
    """Give the run away, and *lock_fd* with it."""
    if plan.spec.cluster.kind == "local":
        from launcher.cli.this_machine import ThisMachine

        return ThisMachine(run_dir, supervisors.supervise(run_dir, lock_fd))
    from launcher.cli.cluster_run import submitted

    return submitted(run_dir, lock_fd, plan, quiet=quiet)


def place_of(record: RunRecord) -> Place:
    """Where the run or the sweep of *record* is, or was."""
    if record.is_sweep:
        from launcher.cli.sweep.place import SweepPlace

        return SweepPlace(record.run_dir)
    if record.job is None:
        from launcher.cli.this_machine import ThisMachine

        return ThisMachine(record.run_dir)
    from launcher.cli.cluster_run import OnCluster

    return OnCluster(record.run_dir)
