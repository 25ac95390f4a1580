"""Where a run goes that has been written down, and where one is that was: this machine, or a cluster's engine.

A place is what a command does with a run, whoever has it; what else is known of the run stands in its directory (decision 273).
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from launcher.cli.command import Options
from launcher.cli.watch import SIGNALS, watch_run, watch_silently, words_for_interrupt
from launcher.journal.run_journal import Follower
from launcher.run.supervisor.signal_inbox import SignalInbox, held_back
from runtime.file_lock import is_locked
from runtime.kernel.processes import send_signal
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.plan.launch_plan import LaunchPlan
    from launcher.run.start.fork_server import ForkServer
    from launcher.tracking.record.run_record import RunRecord

_LOOK_ANYWAY_S = 0.5
"""inotify says nothing on some network file systems; so look now and then anyway."""

_END_LOOK_S = 0.05
"""Nothing tells of the end of a supervisor that is of another machine, or another's."""

_MOST_TAKEOVERS = 3
"""How many dead supervisors are replaced; more are a fault that another one would not survive either."""


class Place(Protocol):
    """Of one run. `ThisMachine`, `cluster_run.OnCluster` and, for whole sweeps, `sweep.place.SweepPlace` have them."""

    run_dir: RunDir
    what: str
    """`run` or `sweep`."""

    @property
    def way_back(self) -> str:
        """How to come back to what was left."""
        ...

    @property
    def end_fd(self) -> int | None:
        """Readable when the process that has it ends; None where nothing tells."""
        ...

    def pause_s(self) -> float:
        """The longest time until the next look."""
        ...

    def is_over(self) -> bool:
        """Whether it has ended, and its record is sent; does for it what has to be done when its process has died."""
        ...

    def words_for_interrupt(self) -> str:
        """What to say of a Ctrl-C that is about to be passed on; empty where what is watched says it."""
        ...

    def end(self, signum: signal.Signals) -> None:
        """Have its supervisor receive *signum*; take it out of the queue when it has none yet."""
        ...

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        """Show it to its end, of what it said so far the last *tail* lines or everything. Returns the exit code of `launch`."""
        ...


class ThisMachine:
    """A run of this machine: its supervisor is a process that can be watched, sent signals and replaced. A first Ctrl-C asks the
    run to end, a second one kills it. *supervisor*: its pidfd, where one has it already."""

    what = "run"

    def __init__(self, run_dir: RunDir, supervisor: int | None = None) -> None:
        self.run_dir = run_dir
        self.end_fd = supervisor
        self._journal = Follower(run_dir.journal)

    @property
    def way_back(self) -> str:
        return f"`launch attach {self.run_dir.run_id}` comes back to it"

    def pause_s(self) -> float:
        return _END_LOOK_S if self.end_fd is None and self._journal.look().is_over else _LOOK_ANYWAY_S

    def is_over(self) -> bool:
        if self._is_tended():
            return False
        run = self._journal.look()
        if run.is_over or run.takeovers >= _MOST_TAKEOVERS:
            return True
        from launcher.run.recover import recover

        recover(self.run_dir)
        self._open_supervisor()
        return not self._is_tended()

    def words_for_interrupt(self) -> str:
        return words_for_interrupt(self._journal.look())

    def end(self, signum: signal.Signals) -> None:
        if self.end_fd is None:
            from launcher.run.recover import recover

            recover(self.run_dir)
            self._open_supervisor()
        if self.end_fd is not None:
            send_signal(self.end_fd, signum)

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        if self.end_fd is None:
            self._open_supervisor()
        return watch_run(self, inbox, quiet=quiet, tail=tail)

    def _is_tended(self) -> bool:
        """Whether a supervisor lives, ours to look at or not."""
        if self.end_fd is not None:
            if not select.select([self.end_fd], [], [], 0)[0]:
                return True
            os.close(self.end_fd)
            self.end_fd = None
        return is_locked(self.run_dir.supervisor_lock)

    def _open_supervisor(self) -> None:
        from launcher.run.start.supervisor_link import open_supervisor

        self.end_fd = open_supervisor(self.run_dir)


class StartedRun(NamedTuple):
    """A run that has its supervisor, or stands in its cluster's queue."""

    place: Place
    inbox: SignalInbox | None
    """What the command receives for it; None: it leaves (`--detach`)."""

    def watch(self, options: Options, *, tail: int | None = None) -> int:
        """Show the run to its end, or print its id and leave; with `--json` nothing but its record. Returns the exit code of
        `launch`."""
        code = self.follow(options, tail=tail)
        if options.json:
            from launcher.cli.runs.show import print_record

            print_record(self.place.run_dir)
        return code

    def follow(self, options: Options, *, tail: int | None = None) -> int:
        """The same, but with `--json` nothing at all."""
        if self.inbox is None:
            if not options.json:
                print(self.place.run_dir.run_id)
            return 0
        if options.json:
            return watch_silently(self.place, self.inbox)
        return self.place.watch(self.inbox, quiet=options.quiet, tail=tail)


def start_run(
    supervisors: ForkServer, plan: LaunchPlan, create: Callable[[], tuple[RunDir, int]], options: Options
) -> StartedRun:
    """Have *create* write the run down, and give it and the lock of its supervisor away."""
    with held_back(SIGNALS):
        run_dir, lock_fd = create()
        if plan.spec.cluster.kind == "local":
            place: Place = ThisMachine(run_dir, supervisors.supervise(run_dir, lock_fd))
        else:
            from launcher.cli.cluster_run import submit_run

            place = submit_run(run_dir, lock_fd, plan, quiet=options.quiet)
        return StartedRun(place, None if options.detach else SignalInbox(SIGNALS))


def place_of(record: RunRecord) -> Place:
    """Where the run or the sweep of *record* is, or was."""
    if record.is_sweep:
        from launcher.cli.sweep.sweep_place import SweepPlace

        return SweepPlace(record.run_dir)
    if record.job is None:
        return ThisMachine(record.run_dir)
    from launcher.cli.cluster_run import OnCluster

    return OnCluster(record.run_dir)
