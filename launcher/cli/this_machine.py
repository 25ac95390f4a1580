"""A run of this machine, as a command finds it: its supervisor is a process that can be watched, sent signals and replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from launcher.cli.watch import until_it_ends, watch
from launcher.errors import LaunchError
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.state_dir import RunDir


class ThisMachine:
    """Implements `placing.Place`. *supervisor*: its pidfd, where one has it already."""

    def __init__(self, run_dir: RunDir, supervisor: int | None = None) -> None:
        self._run_dir = run_dir
        self._supervisor = supervisor

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        supervisor = self._supervisor if self._supervisor is not None else self._opened()
        return watch(self._run_dir, supervisor, inbox, quiet=quiet, tail=tail)

    def until_it_ends(self) -> Iterator[None]:
        return until_it_ends(self._run_dir)

    def end(self, signum: signal.Signals) -> None:
        from launcher.run.recover import recover
        from launcher.run.start.supervisor_link import signal_supervisor

        recover(self._run_dir)
        signal_supervisor(self._run_dir, signum)

    def _opened(self) -> int:
        from launcher.run.start.supervisor_link import open_supervisor

        supervisor = open_supervisor(self._run_dir)
        if supervisor is None:
            run_id = self._run_dir.run_id
            raise LaunchError(f"run `{run_id}` ended just now", hint=f"`launch logs {run_id}` shows what it said")
        return supervisor
