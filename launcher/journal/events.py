"""What may happen in the life of a run: one type an event, and the one way it is written as a line of the journal and read again.

    {"event": "started", "at": 1795523995.123456, "attempt": 1, "init_pid": 812}

`at` is in Unix seconds; `placement` is the fencing token of a writer on a cluster (`fencing.py`). Strict where something is
known: an event whose fields are missing or of another type, and one of a newer launch, is read as `Unknown`, kept and shown, and
changes nothing. Who writes which event, and what a run is after it: the table in docs/architecture.md, "One run".

Tuples of `light_typing`: all of them together cost less than a millisecond to import, which twenty dataclasses do not.
"""

from __future__ import annotations

import json
from functools import lru_cache

from runtime.light_typing import TYPE_CHECKING, Any, NamedTuple

VERSION = 1
"""Of the journal's form, in `created`; none means 1."""

TOOK_OVER = "the supervisor had died; another one took over"
ORPHANED = "the supervisor has died; the tracker calls another one"
"""Notes that are counted: a run whose supervisors die again and again is left alone."""


class Created(NamedTuple):
    """The run exists: what it is, and the process that launches it. Of a sweep's own run only the first half is known."""

    run_id: str = ""
    experiment: str = ""
    name: str | None = None
    note: str | None = None
    parent_run_id: str | None = None
    sweep_id: str | None = None
    trial: int | None = None
    rerun_of: str | None = None
    command: tuple[str, ...] = ()
    """Words as typed."""
    pid: int | None = None
    pid_started: str | None = None
    """See `launcher.journal.processes.process_started`."""
    tracking: bool = True
    user: str | None = None
    host: str | None = None
    cwd: str | None = None
    argv: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    params: dict[str, Any] | None = None
    needs: dict[str, Any] | None = None
    """`cpus`, `memory_bytes`, `gpus`: what it takes of the machine."""
    may_wait: bool = True
    on_terminal: bool = False
    """Whether its program has a terminal, and who watches it types there."""
    seed: int | None = None
    spec_digest: str | None = None
    code_digest: str | None = None
    lock_digest: str | None = None
    base_digest: str | None = None
    image_digest: str | None = None
    plan_digest: str | None = None
    """Of `plan.json` as it is written: with it everything that the run is made of, its code and its lock too."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    version: int = VERSION


class Building(NamedTuple):
    """Its image is being built. Written by earlier versions."""


class Submitted(NamedTuple):
    """A cluster's engine has it from here on, and nobody on this machine tends to it."""

    engine: str
    job: str
    worker: bool = False
    """Whether the job runs one trial of a sweep after the other."""


class Placed(NamedTuple):
    """Its job has begun on a node. Its writer's token is the placement from here on."""

    job: str | None = None
    host: str | None = None
    node: str | None = None
    attempt: int | None = None
    pid: int | None = None
    pid_started: str | None = None


class Queued(NamedTuple):
    """A supervisor has it, and is about to lease what it needs."""

    image_digest: str | None = None
    facts: dict[str, Any] | None = None
    """Of the machine: CPU, kernel, ..."""


class Waiting(NamedTuple):
    """It stands in the queue for GPUs; again when its place or what it waits for changes."""

    place: int
    of: int
    text: str

    @property
    def words(self) -> str:
        return f"place {self.place} of {self.of} in line for {self.text}"


class Leased(NamedTuple):
    gpus: tuple[str, ...] = ()
    """UUIDs."""
    shares: tuple[float, ...] = ()
    """Where a GPU is not the run's alone."""
    cpus: str | None = None
    numa_nodes: tuple[int, ...] = ()
    facts: dict[str, Any] | None = None

    @property
    def gpu_count(self) -> float:
        """A part of a GPU counts in part."""
        return float(sum(self.shares)) if len(self.shares) == len(self.gpus) else float(len(self.gpus))


class GpusAway(NamedTuple):
    """Nobody used a container to work in, and its GPUs were given back; `leased` follows when it has them again."""

    wait: str | None = None
    """Once they are asked for again, and taken: what is waited for."""

    @property
    def words(self) -> str:
        return self.wait or "its next use, to ask for its GPUs again"


class Acquired(NamedTuple):
    """Announced before something is made that outlives a crash (a cgroup, an overlay, ...): undoing it needs no more."""

    kind: str
    name: str


class Mlflow(NamedTuple):
    """Its run in MLflow. Written by earlier versions; now it stands in `mlflow.json`."""

    tracking_uri: str | None = None
    ui_uri: str | None = None
    experiment_id: str | None = None
    run_id: str | None = None
    artifact_uri: str | None = None


class Started(NamedTuple):
    """The program of an attempt runs, as a child of its container's init."""

    attempt: int = 1
    init_pid: int | None = None
    init_started: str | None = None
    ports: tuple[str, ...] = ()
    """What its published ports are reached by, as in `127.0.0.1:6006 → 6006`."""


class FirstOutput(NamedTuple):
    """The program has said something."""


class AttemptEnded(NamedTuple):
    """An attempt has ended and another one follows."""

    attempt: int
    reason: str
    exit_code: int | None = None
    message: str | None = None
    requeued: bool = False
    """In another placement of its job."""


class NodeJoined(NamedTuple):
    """The program runs on a further node, too."""

    node: int
    about: dict[str, Any]
    """`name`, `host`, `gpus`, `cpu`, ..."""


class NodeEnded(NamedTuple):
    """The program has ended on a further node."""

    node: int
    ending: dict[str, Any]
    """`reason`, `exit_code`, `message`."""


class Stopping(NamedTuple):
    """It was asked to end: SIGTERM to the program, SIGKILL after its grace, or *at once*."""

    reason: str
    detail: str | None = None
    at_once: bool = False


class Paused(NamedTuple):
    """Announced by `launch pause` before it freezes the container."""


class Unpaused(NamedTuple):
    pass


class Finished(NamedTuple):
    """The last word of this life of the run."""

    reason: str = "launcher"
    exit_code: int = 125
    signal: int | None = None
    message: str | None = None
    hint: str | None = None
    """Of a sweep that failed: what to do."""
    of_the_machine: bool = False
    """Whether another machine might have succeeded."""
    usage: dict[str, Any] | None = None
    """`peak_memory_bytes`, `cpu_seconds`, ..."""
    facts: dict[str, Any] | None = None


class Resumed(NamedTuple):
    """A run that had ended goes on: its next life, after which everything is as after `created`."""

    by: tuple[str, ...] = ()
    """Words as typed."""
    pid: int | None = None
    pid_started: str | None = None


class Note(NamedTuple):
    """What a person may like to know; nothing follows from it but what its fields say."""

    text: str | None = None
    facts: dict[str, Any] | None = None
    """Become tags of the MLflow run."""
    superseded: tuple[str, ...] = ()
    """Placements that can write into the run no more."""
    xid: int | None = None
    """What the driver said of the GPU *gpu*."""
    gpu: str | None = None


class Unknown(NamedTuple):
    """Of a newer launch, or damaged."""

    name: str
    fields: dict[str, Any]


if TYPE_CHECKING:
    Event = (
        Created
        | Building
        | Submitted
        | Placed
        | Queued
        | Waiting
        | Leased
        | GpusAway
        | Acquired
        | Mlflow
        | Started
        | FirstOutput
        | AttemptEnded
        | NodeJoined
        | NodeEnded
        | Stopping
        | Paused
        | Unpaused
        | Finished
        | Resumed
        | Note
        | Unknown
    )
else:
    Event = tuple

TYPES: dict[str, type[Any]] = {
    "created": Created,
    "building": Building,
    "submitted": Submitted,
    "placed": Placed,
    "queued": Queued,
    "waiting": Waiting,
    "leased": Leased,
    "gpus_away": GpusAway,
    "acquired": Acquired,
    "mlflow": Mlflow,
    "started": Started,
    "first_output": FirstOutput,
    "attempt": AttemptEnded,
    "joined": NodeJoined,
    "left": NodeEnded,
    "stopping": Stopping,
    "paused": Paused,
    "unpaused": Unpaused,
    "finished": Finished,
    "resumed": Resumed,
    "note": Note,
}
"""Name in the journal → type. Names never change: journals of earlier versions have them."""

NAMES = {of: name for name, of in TYPES.items()}


class Entry(NamedTuple):
    """One line of a journal."""

    at: float
    """Unix seconds."""
    event: Event
    token: str | None = None
    """The placement whose process wrote it; None for the submitting machine, and a run of one's own machine."""


def name_of(event: Event) -> str:
    return event.name if isinstance(event, Unknown) else NAMES[type(event)]


def encode(entry: Entry) -> bytes:
    """The line, with its end. What a field's default says is left out; the last word is written in full."""
    event = entry.event
    defaults: dict[str, Any] = {} if isinstance(event, Finished) else event._field_defaults
    fields = {
        name: value for name, value in zip(event._fields, event, strict=True) if name not in defaults or value != defaults[name]
    }
    document = {"event": name_of(event), "at": entry.at, **fields}
    if entry.token is not None:
        document["placement"] = entry.token
    return json.dumps(document, separators=(",", ":"), default=str).encode() + b"\n"


@lru_cache(64)
def decode(line: bytes) -> Entry | None:
    """None for a line that is no event of anybody's: torn, or foreign. Whose run it is reads its journal again and again."""
    try:
        document = json.loads(line)
        name, at = str(document.pop("event")), float(document.pop("at"))
        if not -_TIME_END_S < at < _TIME_END_S:
            raise ValueError("no time")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    token = document.pop("placement", None)
    return Entry(at, _event(name, document), None if token is None else str(token))


def _event(name: str, fields: dict[str, Any]) -> Event:
    of = TYPES.get(name)
    if of is None:
        return Unknown(name, fields)
    values = []
    for field, types, of_each in _checks_of(of):
        value = fields.get(field)
        if value is None and field in of._field_defaults:
            value = of._field_defaults[field]
        elif of_each is not None and isinstance(value, list) and all(isinstance(one, of_each) for one in value):
            value = tuple(value)
        elif not isinstance(value, types):
            if of not in _INDISPENSABLE:
                return Unknown(name, fields)
            value = of._field_defaults[field]
        values.append(value)
    event: Event = of(*values)
    return event


_TIME_END_S = 253402300800
"""The year 10000: times beyond, infinite and undefined ones are nobody's."""
_INDISPENSABLE = (Created, Started, Finished, Resumed)
"""Of these a field that is not understood is left out, and not the event: without them there is no run, or no end of it."""

_JSON_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict": dict, "tuple": ()}
_checks: dict[type, tuple[tuple[str, Any, Any], ...]] = {}


def _checks_of(of: type[Any]) -> tuple[tuple[str, Any, Any], ...]:
    """Of each field its name, the types that JSON may have for it, and where it is a list there those of its elements."""
    if of not in _checks:
        _checks[of] = tuple((field, *_types_of(str(of.__annotations__[field]))) for field in of._fields)
    return _checks[of]


def _types_of(annotation: str) -> tuple[Any, Any]:
    """`tuple[float, ...]`, `str | None`, `dict[str, Any]`."""
    word, _, inner = annotation.partition(" ")[0].partition("[")
    return _JSON_TYPES[word], _JSON_TYPES[inner.rstrip(",")] if word == "tuple" else None
