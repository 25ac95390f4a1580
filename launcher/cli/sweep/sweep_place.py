"""A sweep as a command finds it: a process that can be watched and sent signals. Killed, it is gone on with by a person only."""

from __future__ import annotations

import os
import select
import signal

from launcher.cli.sweep.watch import SweepWatch, print_sweep_ending
from launcher.cli.watch import watch
from launcher.errors import ConfigError
from launcher.run.recover import recover
from launcher.run.start.supervisor_link import open_supervisor, other_machine
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.file_lock import is_locked
from runtime.kernel.processes import send_signal
from runtime.state_dir import RunDir

_LOOK_S = 0.25


class SweepPlace:
    """Implements `launcher.cli.run_place.Place`. A first Ctrl-C asks it to start no more trials, a second one stops the running
    ones, a third kills them. *process*: its pidfd, where one has it already."""

    what = "sweep"

    def __init__(self, run_dir: RunDir, process: int | None = None) -> None:
        self.run_dir = run_dir
        self.end_fd = process

    @property
    def way_back(self) -> str:
        return f"`launch attach {self.run_dir.run_id}` comes back to it"

    def pause_s(self) -> float:
        return _LOOK_S

    def is_over(self) -> bool:
        if self.end_fd is None:
            return not is_locked(self.run_dir.supervisor_lock)
        if not select.select([self.end_fd], [], [], 0)[0]:
            return False
        os.close(self.end_fd)
        self.end_fd = None
        return True

    def words_for_interrupt(self) -> str:
        return ""

    def end(self, signum: signal.Signals) -> None:
        self._refuse_elsewhere("stop" if signum is signal.SIGTERM else "kill")
        if self.end_fd is None:
            self.end_fd = open_supervisor(self.run_dir)
        if self.end_fd is None:
            self._end_what_is_left()
        else:
            send_signal(self.end_fd, signum)

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        return self.watch_from(inbox, quiet=quiet, from_now=True)

    def watch_from(self, inbox: SignalInbox, *, quiet: bool, from_now: bool) -> int:
        """Show the sweep to its end; *from_now*: what has happened before was seen by somebody else."""
        self._refuse_elsewhere("attach", ssh="ssh -t", more=f"; `launch logs -f {self.run_dir.run_id}` follows it from here")
        if self.end_fd is None:
            self.end_fd = open_supervisor(self.run_dir)
        if self.end_fd is not None:
            shown = SweepWatch(self.run_dir, quiet=quiet, from_now=from_now)
            try:
                left = watch(self, inbox, shown.show)
                if left is not None:
                    return left
            finally:
                shown.close()
        return print_sweep_ending(self.run_dir, quiet=quiet)

    def _refuse_elsewhere(self, command: str, *, ssh: str = "ssh", more: str = "") -> None:
        """A process of another machine hears no signal from here. Raises ConfigError."""
        host, run_id = other_machine(self.run_dir), self.run_dir.run_id
        if host is not None:
            hint = f"`{ssh} {host} launch {command} {run_id}`{more}"
            raise ConfigError(f"sweep `{run_id}` is run by a process on `{host}`", hint=hint)

    def _end_what_is_left(self) -> None:
        """Of a sweep whose process was killed: its trials end by themselves."""
        recover(self.run_dir)
        if self.run_dir.workers.is_dir():
            from launcher.cluster.trials.worker_pool import dismiss_workers

            dismiss_workers(self.run_dir)
