"""The files through which a sweep's process and its worker jobs speak: two a worker, in the directory of the sweep.

    orders.jsonl   by the sweep's process (`ORDERS`)
    said.jsonl     by the worker (`REPORTS`)

A line is a JSON object: `event`, `at` (Unix seconds) and the fields of its type. Each file has one writer, is there before its
reader, and only grows: a line that NFS shows late is a line that comes late, which neither a file renamed into place nor one with
two writers would be. What is asked of a running trial stands in `requests` of its own directory, where `launch stop` can write
it, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import LaunchError
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_journal import append_line
from runtime.light_dataclasses import dataclass
from runtime.light_typing import Any, NamedTuple
from runtime.state_dir import RunDir

_LOOK_S = (0.05, 0.5)
_LOOK_SHARE = 0.05


class Submitted(NamedTuple):
    """The worker's job is in the queue."""

    engine: str
    job: str
    shape: str
    """Which trials it can run: those that ask for the same."""


class RunTrial(NamedTuple):
    """The next trial."""

    run: str


class Leave(NamedTuple):
    pass


class JobOver(NamedTuple):
    """Of interest to the sweep's next process."""


class Began(NamedTuple):
    node: str
    until: float | None = None
    """The end of the job's time, in Unix seconds."""


class TrialFree(NamedTuple):
    """Its program has ended, and what it held of the node is given back."""

    run: str


class TrialOver(NamedTuple):
    """Its supervisor has ended, too."""

    run: str


class Left(NamedTuple):
    """No order is followed any more."""

    why: str


Order = Submitted | RunTrial | Leave | JobOver
Report = Began | TrialFree | TrialOver | Left

ORDERS: dict[str, type[Any]] = {"submitted": Submitted, "run": RunTrial, "leave": Leave, "over": JobOver}
REPORTS: dict[str, type[Any]] = {"began": Began, "free": TrialFree, "over": TrialOver, "left": Left}


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
    def reports(self) -> Path:
        return self.root / "said.jsonl"

    @property
    def log(self) -> Path:
        """What Slurm prints, and a worker's traceback."""
        return self.root / "job.log"

    def order(self, order: Order) -> None:
        _write(self.orders, ORDERS, order)

    def report(self, report: Report) -> None:
        _write(self.reports, REPORTS, report)

    def has_trial(self) -> bool:
        """Whether any was ordered, without reading the order."""
        return b'"run"' in self.orders.read_bytes()

    def remove(self) -> None:
        """The cluster has refused its job. If that was accepted, and the answer came too late, it finds nothing, and ends."""
        shutil.rmtree(self.root, ignore_errors=True)


def new_orders(file: GrowingFile) -> list[Order]:
    """What was added to the `orders` of a worker since the last call."""
    return _read(file, ORDERS)


def new_reports(file: GrowingFile) -> list[Report]:
    """What was added to the `reports` of a worker since the last call."""
    return _read(file, REPORTS)


def _write(path: Path, types: Mapping[str, type[Any]], line: Order | Report) -> None:
    name = next(name for name, of in types.items() if of is type(line))
    document = {"event": name, "at": time.time(), **line._asdict()}
    _append(path, json.dumps(document, separators=(",", ":")))


def _read(file: GrowingFile, types: Mapping[str, type[Any]]) -> list[Any]:
    """A line that is not understood is of a newer launch, and passed over."""
    found = []
    for line in file.new_lines():
        try:
            document = json.loads(line)
            of = types[document["event"]]
            found.append(of(**{name: value for name, value in document.items() if name in of._fields}))
        except (ValueError, TypeError, KeyError):
            continue
    return found


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
    for path in (worker.orders, worker.reports):
        path.touch(mode=0o600)
    return worker


def make_requests(trial: RunDir) -> None:
    """There before whoever reads it: NFS remembers for a while that a file is missing."""
    trial.requests.touch(mode=0o600)


def has_requests(trial: RunDir) -> bool:
    """Whether anybody has asked anything of it."""
    try:
        return trial.requests.stat().st_size > 0
    except FileNotFoundError:
        return False


def request(trial: RunDir, signum: signal.Signals) -> None:
    """Have the worker that runs *trial* send *signum* to its supervisor."""
    _append(trial.requests, signum.name)


def new_requests(file: GrowingFile) -> list[signal.Signals]:
    """What was added to the `requests` of a trial since the last call."""
    names = [line.decode(errors="replace").strip() for line in file.new_lines()]
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def _append(path: Path, line: str) -> None:
    try:
        append_line(path, line.encode() + b"\n")
    except OSError as error:
        raise LaunchError(
            f"`{path}` cannot be written: {error.strerror}", hint="`launch gc` frees what no image needs"
        ) from error
