"""A sweep as a command finds it: a process that can be watched and sent signals. Killed, it is gone on with by a person only."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from launcher.cli.sweep.watch import sweep_ending, watch_sweep
from launcher.cli.watch import until_it_ends
from launcher.errors import ConfigError
from launcher.run.recover import recover
from launcher.run.start.supervisor_link import open_supervisor, other_machine
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.state_dir import RunDir


class SweepPlace:
    """Implements `launcher.cli.placing.Place`."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir

    def watch(self, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None) -> int:
        self._refuse_elsewhere("attach", ssh="ssh -t", more=f"; `launch logs -f {self._run_dir.run_id}` looks on from here")
        process = open_supervisor(self._run_dir)
        if process is None:
            return sweep_ending(self._run_dir, quiet=quiet)
        return watch_sweep(self._run_dir, process, inbox, quiet=quiet, from_now=True)

    def until_it_ends(self) -> Iterator[None]:
        return until_it_ends(self._run_dir)

    def end(self, signum: signal.Signals) -> None:
        self._refuse_elsewhere("stop" if signum is signal.SIGTERM else "kill")
        process = open_supervisor(self._run_dir)
        if process is None:
            self._end_what_is_left()
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signum)
        os.close(process)

    def _refuse_elsewhere(self, command: str, *, ssh: str = "ssh", more: str = "") -> None:
        """A process of another machine hears no signal from here. Raises ConfigError."""
        host, run_id = other_machine(self._run_dir), self._run_dir.run_id
        if host is not None:
            hint = f"`{ssh} {host} launch {command} {run_id}`{more}"
            raise ConfigError(f"sweep `{run_id}` is run by a process on `{host}`", hint=hint)

    def _end_what_is_left(self) -> None:
        """Of a sweep whose process was killed: its trials end by themselves."""
        recover(self._run_dir)
        if self._run_dir.workers.is_dir():
            from launcher.cluster.trials.scale_down import leave_line

            leave_line(self._run_dir)
