"""The trials of a sweep that run now: each a run with its own supervisor, watched through a pidfd, its journal by inotify.

Where nothing wakes it, the sweep looks four times a second all the same.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from launcher.journal.growing_file import GrowingFile
from launcher.journal.status import Stage
from launcher.run.recover import recover
from launcher.run.start.supervisor_link import open_supervisor
from launcher.sweep.stage import StagedRun
from launcher.sweep.trial import Trial
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.kernel.inotify import MODIFY, Inotify
from runtime.kernel.processes import send_signal
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir


class ReportTail:
    """The reports of one metric by a run, as they come: what a pruner judges. Reads `logged.jsonl` from where it stopped. A
    step that comes again, as after a new attempt, counts once; a program that logs everything under one step has each of
    its reports counted.
    """

    def __init__(self, run_dir: RunDir, metric: str) -> None:
        self._file = GrowingFile(run_dir.logged)
        self._needle = json.dumps(metric).encode()
        self._metric = metric
        self._steps: set[int] = set()

    def new_values(self) -> Iterator[float]:
        for line in self._file.new_lines():
            if self._needle not in line:  # parsing every line of a talkative program would cost more than the search
                continue
            try:
                entry = json.loads(line)
                value, step = float(entry["value"]), int(entry.get("step", 0))
            except (ValueError, TypeError, KeyError):
                continue
            if entry.get("key") == self._metric and not self._is_known(step):
                yield value

    def _is_known(self, step: int) -> bool:
        known = step in self._steps and len(self._steps) > 1
        self._steps.add(step)
        return known


class FileWatch:
    """Files that are followed (a trial's journal: it may have left room, or taken its GPU), and *poller*, which they wake."""

    def __init__(self, poller: select.poll) -> None:
        self._inotify = Inotify()
        poller.register(self._inotify.fileno(), select.POLLIN)

    def add(self, path: Path) -> None:
        with suppress(OSError):  # it may not be there yet, or any more
            self._inotify.watch(path, MODIFY)

    def remove(self, path: Path) -> None:
        self._inotify.unwatch(path)

    def woke(self, fd: int) -> bool:
        """Whether *fd*, which poll(2) named, is ours; then it is read."""
        if fd != self._inotify.fileno():
            return False
        self._inotify.read()
        return True


@dataclass(slots=True)
class RunningTrial:
    """One try of a trial."""

    trial: Trial
    run_dir: RunDir
    tail: ReportTail | None = None
    """Where its reports come from, when trials are pruned."""
    pruned: bool = False
    """Whether it has been asked to end for that."""
    staged: StagedRun = field(init=False)

    def __post_init__(self) -> None:
        self.staged = StagedRun(self.run_dir)


class RunningTrials:
    """pidfd of the supervisor → try, and the poll set that has them all."""

    def __init__(self) -> None:
        self.poller = select.poll()
        self.journals = FileWatch(self.poller)
        self._by_pidfd: dict[int, RunningTrial] = {}

    def __len__(self) -> int:
        return len(self._by_pidfd)

    def __iter__(self) -> Iterator[RunningTrial]:
        return iter(list(self._by_pidfd.values()))

    @property
    def number_open(self) -> int:
        """Without those whose program has ended and whose record is still on its way to MLflow."""
        return sum(each.staged.look() is not Stage.ENDED for each in self._by_pidfd.values())

    def add(self, pidfd: int, running: RunningTrial) -> None:
        self._by_pidfd[pidfd] = running
        self.poller.register(pidfd, select.POLLIN)
        self.journals.add(running.run_dir.journal)

    def ended(self, pidfd: int) -> tuple[RunningTrial, RunRecord] | None:
        """The try whose supervisor ended; None when the run goes on under another one: the first was killed."""
        running = self._by_pidfd.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        self.journals.remove(running.run_dir.journal)
        return self.watch(running)

    def watch(self, running: RunningTrial) -> tuple[RunningTrial, RunRecord] | None:
        """Watch a run that may have a supervisor, may need one, or may have ended: then it is given back, with its record."""
        record = fold(running.run_dir)
        while record is not None and record.exit_code is None:
            recover(running.run_dir)
            successor = open_supervisor(running.run_dir)
            if successor is not None:
                self.add(successor, running)
                return None
            record = fold(running.run_dir)
        return None if record is None else (running, record)

    def signal(self, signum: signal.Signals) -> None:
        """To every supervisor."""
        for pidfd in self._by_pidfd:
            send_signal(pidfd, signum)

    def leave_line(self) -> None:
        """Those that wait for GPUs are cut short: nobody knows how long they would wait."""
        for pidfd, running in self._by_pidfd.items():
            if running.staged.look() is Stage.QUEUED:
                send_signal(pidfd, signal.SIGINT)

    def prune(self, number: int) -> None:
        """Ask the trial to end, since it is not worth going on."""
        for pidfd, running in self._by_pidfd.items():
            if running.trial.number == number and not running.pruned:
                running.pruned = True
                send_signal(pidfd, signal.SIGUSR1)
