"""The journal of a run: one JSON event a line, appended only. It is the truth; everything else is a view of it.

    {"event": "started", "at": 1795523995.123456, "attempt": 1, "init_pid": 812}

    created       run_id, experiment, name, parent_run_id, sweep_id, trial, params, overrides, command (words as typed),
                  argv, spec_digest, code_digest, lock_digest, base_digest, seed, tracking (false when `tracking: null`),
                  needs (cpus, memory_bytes, gpus: what it takes of the machine),
                  pid, pid_started (see `record.process_started`), host, user
    building      -
    submitted     engine, job: a cluster's engine has it now, and nobody on this machine tends to it
    placed        host, node, job, attempt, pid, pid_started: the job has begun there; events of its processes carry `placement`
                  (`fencing.py`)
    queued        image_digest, facts (of the machine: CPU, kernel, ...)
    waiting       place, of (in the line for GPUs), text (what for); again when one of them changes
    leased        gpus (UUIDs), shares (where a GPU is not the run's alone), cpus and numa_nodes (near them), facts
    acquired      kind, name: announced before something is made that outlives a crash (cgroup, link, ...)
    mlflow        tracking_uri, ui_uri, experiment_id, run_id, artifact_uri
    started       attempt, init_pid, init_started
    first_output  -
    attempt       attempt, reason, exit_code: an attempt ended and another follows; requeued: in another placement of its job
    joined        node, about {name, host, gpus, cpu, ...}: its program runs on a further node
    left          node, ending {reason, exit_code, message}: how it ended there
    stopping      reason
    paused        - (`launch pause`; by the command, announced before it is done)
    unpaused      -
    finished      reason, exit_code, signal, usage {peak_memory_bytes, cpu_seconds, ...}, message, hint (a sweep's)
    resumed       by (words as typed), pid, pid_started: a run that had ended goes on; what follows is as after `created`
    note          text, or whatever a reader may like to know; facts {...} become tags of the MLflow run; superseded: placements
                  that can write into the run no more

A line is one write(2) on an O_APPEND descriptor: two writers never mix, and what a killed one left of a line is closed by the
next. Folding events into a record is `record.py`; sending them anywhere is `tracker.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.events import decode
from launcher.journal.fencing import TOKEN, Fence

EVENTS = (
    "created",
    "building",
    "submitted",
    "placed",
    "queued",
    "waiting",
    "leased",
    "acquired",
    "mlflow",
    "started",
    "first_output",
    "attempt",
    "joined",
    "left",
    "stopping",
    "paused",
    "unpaused",
    "finished",
    "resumed",
    "note",
)

# What must survive a power cut: that the run exists, that it touched the machine, how it ended.
_DURABLE = frozenset({"created", "submitted", "started", "finished", "resumed"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal."""

    name: str
    at: float
    """Unix seconds."""
    fields: dict[str, Any]

    def get(self, field: str, default: Any = None) -> Any:
        return self.fields.get(field, default)


_signature: dict[str, str] = {}


def sign_as(placement: str) -> None:
    """From here on what this process and its children append is of *placement*, and counts as long as that does."""
    _signature[TOKEN] = placement


def signature() -> str | None:
    """The placement that this process belongs to; None on the submitting machine, and for a run of one's own machine."""
    return _signature.get(TOKEN)


def open_journal(path: Path) -> int:
    """A descriptor for `append`; the file is made (0600) when missing."""
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def append(journal: Path | int, event: str, /, *, at: float | None = None, **fields: Any) -> Event:
    """Add one event and return it. *journal* is a path or a descriptor of `open_journal`.

    Raises LaunchError when the line cannot be written whole.
    """
    if event not in EVENTS:
        raise ValueError(f"unknown journal event {event!r}")
    written = Event(event, time.time() if at is None else at, {**fields, **_signature})
    line = json.dumps({"event": event, "at": written.at, **written.fields}, separators=(",", ":"), default=str) + "\n"
    descriptor = journal if isinstance(journal, int) else open_journal(journal)
    try:
        write_line(descriptor, line.encode(), durable=event in _DURABLE)
    except OSError as error:
        raise LaunchError(f"cannot write event `{event}` to the journal `{journal}`: {error.strerror}") from error
    finally:
        if not isinstance(journal, int):
            os.close(descriptor)
    return written


def write_line(descriptor: int, line: bytes, *, durable: bool) -> None:
    """Add *line*, which ends in a newline, behind whole lines. Raises OSError when it cannot be written whole."""
    if _is_torn(descriptor):
        line = b"\n" + line
    written = os.write(descriptor, line)
    if written != len(line):
        # The disk is full. The newline closes the torn line, so that the next event stands on its own.
        os.write(descriptor, b"\n")
        raise OSError(28, os.strerror(28))
    if durable:
        os.fdatasync(descriptor)


def _is_torn(descriptor: int) -> bool:
    """Whether the last line has no end: SIGKILL ends a write(2) between two pages. Then the line is lost, not the next one too.
    Seen in the middle of another's write it costs an empty line, which nobody reads."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def read(path: Path) -> list[Event]:
    """All whole events that count, in order; an empty list when there is no journal. A torn or foreign line is left out, and what
    a superseded placement wrote."""
    return list(Follower(path).new_events())


def began_at(path: Path) -> float | None:
    """When the first event was (Unix seconds), without reading the others; None when there is no whole line yet."""
    try:
        with open(path, "rb") as file:
            events = (_parse(line) for line in file if line.endswith(b"\n"))
            return next((event.at for event in events if event is not None), None)
    except FileNotFoundError:
        return None


def since_resumed(events: Sequence[Event]) -> list[Event]:
    """The events of the run's present life: all of them, or those since it was last taken up again after an end."""
    taken_up = max((number for number, event in enumerate(events) if event.name == "resumed"), default=0)
    return [*events[taken_up:]]


def since_placed(events: Sequence[Event]) -> list[Event]:
    """The events of the run's present placement on a cluster; elsewhere, and before the first, those of its present life."""
    current = since_resumed(events)
    placed = max((number for number, event in enumerate(current) if event.name == "placed"), default=0)
    return current[placed:]


class Follower:
    """Reads a journal as it grows: each call of `new_events` returns what was added since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.fence = Fence()

    def new_events(self) -> list[Event]:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        admitted = []
        for line in whole.splitlines():
            event, entry = _parse(line), decode(line)
            if event is not None and entry is not None and self.fence.admits(entry):
                admitted.append(event)
        return admitted


def _parse(line: bytes) -> Event | None:
    try:
        document = json.loads(line)
        return Event(str(document.pop("event")), float(document.pop("at")), document)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
