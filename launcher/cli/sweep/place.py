"""A sweep as a command finds it: a process that can be watched and sent signals. Killed, it is gone on with by a person only."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from launcher.cli.sweep.watch import sweep_ending, watch_sweep
from launcher.cli.watch import until_it_ends
from launcher.run.recover import recover
from launcher.run.signal_inbox import SignalInbox
from launcher.run.supervisor_link import open_supervisor, signal_supervisor
from runtime.state_dir import RunDir


class SweepPlace:
    """Implements `launcher.cli.placing.Place`."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        process = open_supervisor(self._run_dir)
        if process is None:
            return sweep_ending(self._run_dir, quiet=quiet)
        return watch_sweep(self._run_dir, process, inbox, quiet=quiet, from_now=True)

    def until_it_ends(self) -> Iterator[None]:
        return until_it_ends(self._run_dir)

    def end(self, signum: signal.Signals) -> None:
        recover(self._run_dir)
        signal_supervisor(self._run_dir, signum)
