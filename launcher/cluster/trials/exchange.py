"""The files through which a sweep's process and its worker jobs speak: two a worker, in the directory of the sweep.

    orders.jsonl, by the sweep's process
        submitted   engine, job, shape (which trials it can run: those that ask for the same)
        run         run: the next trial
        leave       -
        over        -: its job is; of interest to the sweep's next process
    said.jsonl, by the worker
        began       node, until (Unix seconds: the end of the job's time)
        free        run: its program has ended, and what it held of the node is given back
        over        run: its supervisor has ended, too
        left        why: no order is followed any more

Each file has one writer, is there before its reader, and only grows: a line that NFS shows late is a line that comes late, which
neither a file renamed into place nor one with two writers would be. What is asked of a running trial stands in `requests` of its
own directory, where `launch stop` can write it, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.journal import journal
from runtime.state_dir import RunDir

_LOOK_S = (0.05, 0.5)
_LOOK_SHARE = 0.05


def look_pause_s(quiet_s: float, *, longest_s: float = _LOOK_S[1]) -> float:
    """How long until the next look at these files, when nothing has happened for *quiet_s*: where another machine writes, nothing
    wakes us. A trial whose end is seen so late costs its slot a twentieth of the time that it took, at most."""
    return min(longest_s, max(_LOOK_S[0], _LOOK_SHARE * quiet_s))


@dataclass(frozen=True, slots=True)
class WorkerDir:
    """What belongs to one worker job."""

    root: Path

    @property
    def sweep(self) -> RunDir:
        return RunDir(self.root.parent.parent)

    @property
    def orders(self) -> Path:
        return self.root / "orders.jsonl"

    @property
    def said(self) -> Path:
        return self.root / "said.jsonl"

    @property
    def log(self) -> Path:
        """The words of Slurm, and a worker's traceback."""
        return self.root / "job.log"

    def remove(self) -> None:
        """The cluster has refused its job. If that was accepted, and the answer came too late, it finds nothing, and ends."""
        shutil.rmtree(self.root, ignore_errors=True)


def worker_dirs(sweep: RunDir) -> list[WorkerDir]:
    """Every worker that the sweep has had, in the order of their making."""
    try:
        names = [name for name in os.listdir(sweep.workers) if name.isdigit()]
    except FileNotFoundError:
        return []
    return [WorkerDir(sweep.workers / name) for name in sorted(names, key=int)]


def new_worker_dir(sweep: RunDir, number: int) -> WorkerDir:
    worker = WorkerDir(sweep.workers / str(number))
    worker.root.mkdir(mode=0o700, parents=True)
    for path in (worker.orders, worker.said):
        path.touch(mode=0o600)
    return worker


def write_line(path: Path, event: str, **fields: Any) -> None:
    """Add one event to a file of which this process is the only writer. `journal.Follower` reads it."""
    line = json.dumps({"event": event, "at": time.time(), **fields}, separators=(",", ":")) + "\n"
    _append(path, line)


def new_requests(trial: RunDir) -> None:
    """There before whoever reads it: NFS remembers for a while that a file is missing."""
    trial.requests.touch(mode=0o600)


def is_asked(trial: RunDir) -> bool:
    """Whether anybody has asked anything of it."""
    try:
        return trial.requests.stat().st_size > 0
    except FileNotFoundError:
        return False


def ask(trial: RunDir, signum: signal.Signals) -> None:
    """Have the worker that runs *trial* send *signum* to its supervisor."""
    _append(trial.requests, f"{signum.name}\n")


def _append(path: Path, line: str) -> None:
    fd = journal.open_journal(path)
    try:
        journal.write_line(fd, line.encode(), durable=False)
    except OSError as error:
        raise LaunchError(
            f"`{path}` cannot be written: {error.strerror}", hint="`launch gc` frees what no image needs"
        ) from error
    finally:
        os.close(fd)


class Requests:
    """What is asked of *trial*, read as it comes."""

    def __init__(self, trial: RunDir) -> None:
        self._path = trial.requests
        self._offset = 0

    def new(self) -> Iterator[signal.Signals]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for name in whole.decode(errors="replace").split():
            if name in signal.Signals.__members__:
                yield signal.Signals[name]
