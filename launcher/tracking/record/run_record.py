"""What is known about a run: its journal, folded. `launch runs`, `launch runs show` and `rerun` read this.

A record is never stored: the journal is the truth, the last metric values come from `last_metrics.json`. Finding a run by
what a person types (`7f3a`, `@last~1`, a name, an MLflow run id) is here too. Ending a run that lost its supervisor is not.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError
from launcher.journal import journal
from launcher.journal.journal import Event
from launcher.journal.running_time import running_s
from launcher.journal.status import Reason, RunStatus
from launcher.journal.submitted import job_of
from launcher.tracking.record.json_object import json_object
from launcher.tracking.record.run_nodes import nodes_of
from runtime.file_lock import is_locked
from runtime.state_dir import RunDir, StateDir

# Fields that any event may carry; the last event that names one wins.
_CARRIED = frozenset(
    (
        "experiment",
        "name",
        "note",
        "parent_run_id",
        "sweep_id",
        "trial",
        "params",
        "overrides",
        "command",
        "argv",
        "seed",
        "host",
        "job",
        "user",
        "spec_digest",
        "code_digest",
        "lock_digest",
        "base_digest",
        "image_digest",
        "gpus",
        "usage",
        "attempt",
        "ports",
    )
)

_STILL = ("note", "mlflow", "acquired", "waiting", "leased", "unpaused", "joined", "left")
"""Events that leave a run where it is."""

_MEANT_OTHERWISE = {"mlflow": ("experiment",), "acquired": ("name",)}
"""Event → fields of that name that don't describe the run."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as it stands now. Times are UTC; digests and ids are None until they are known."""

    run_dir: RunDir
    run_id: str
    status: RunStatus
    created_at: datetime
    experiment: str = ""
    name: str = ""
    note: str = ""
    parent_run_id: str | None = None
    sweep_id: str | None = None
    trial: int | None = None
    waits_for: str | None = None
    """What a run that stands in line for GPUs waits for, with its place."""
    phase: str = "created"
    """The last event that moved the run: `building`, `queued`, `started`, `stopping`, ..."""
    alive: bool = False
    """Whether a process still tends to the run."""
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None
    attempt: int = 1
    image_digest: str | None = None
    spec_digest: str | None = None
    code_digest: str | None = None
    lock_digest: str | None = None
    base_digest: str | None = None
    mlflow_run_id: str | None = None
    mlflow_url: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_s: float | None = None
    """Seconds that the program ran, all attempts together."""
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """What the program's published ports are reached by, as in `127.0.0.1:6006 → 6006`."""
    host: str | None = None
    job: str | None = None
    """The cluster's number for it."""
    user: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    """What the supervisor had to say: limits that are not enforced, a wait, a takeover."""

    @property
    def is_sweep(self) -> bool:
        """Whether it is the parent of a sweep's trials."""
        return self.sweep_id == self.run_id

    def to_json(self) -> dict[str, Any]:
        """For `launch runs --json`: times as ISO 8601 in UTC, and strict JSON, which has no NaN and no infinities."""
        document: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "run_dir":
                value = str(value.root)
            elif isinstance(value, datetime):
                value = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, RunStatus):
                value = value.value
            document[name] = _strict(value)
        return document


def _strict(value: Any) -> Any:
    """*value* with NaN and the infinities as the words that MLflow's API has for them."""
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def fold(run_dir: RunDir) -> RunRecord | None:
    """The record of *run_dir*; None when it has no journal (a launch that died in its first millisecond)."""
    events = journal.read(run_dir.journal)
    if not events:
        return None
    carried = _carried(events)
    current = journal.since_resumed(events)
    finished = _last(current, "finished")
    alive = finished is None and is_tended(run_dir, events)
    status, reason = _status(current, finished, alive=alive)
    mlflow = _mlflow(run_dir, events)
    started = [event for event in events if event.name == "started"]
    return RunRecord(
        run_dir=run_dir,
        run_id=run_dir.run_id,
        status=status,
        created_at=_utc(events[0].at),
        waits_for=_waits_for(current) if alive else None,
        phase=_phase(current),
        alive=alive,
        reason=reason,
        exit_code=finished.get("exit_code") if finished else None,
        signal=finished.get("signal") if finished else None,
        message=finished.get("message") if finished else None,
        mlflow_run_id=mlflow.get("run_id"),
        mlflow_url=run_url(mlflow),
        started_at=_utc(started[0].at) if started else None,
        finished_at=_utc(finished.at) if finished else None,
        duration_s=running_s(events, until=None if alive else events[-1].at),
        metrics=json_object(run_dir.last_metrics),
        facts=_facts(events),
        nodes=nodes_of(current),
        notes=tuple(str(event.get("text")) for event in events if event.name == "note" and event.get("text")),
        **carried,
    )


def list_runs(state: StateDir) -> list[RunRecord]:
    """Every run, oldest first."""
    return _folded(state, _run_ids(state))


def find_run(state: StateDir, reference: str) -> RunRecord:
    """The one run that *reference* means: an id or its beginning, `@last`, `@last~N`, a name (its latest run), an MLflow run id.

    `@last` is what was launched last, a run or a sweep as a whole, `@last~1` what was launched before that: a sweep's trials have
    numbers, and nobody launched them one by one. Raises ConfigError when *reference* means none, or several.
    """
    if reference.startswith("@"):
        return _nth_last(state, reference)
    run_ids = _run_ids(state)
    if reference in run_ids:
        return _one(state, reference)
    # The MLflow id is longer than ours, and a name may look like hex: a prefix of one id is meant before either.
    matches = [run_id for run_id in run_ids if run_id.startswith(reference)]
    if len(matches) == 1:
        return _one(state, matches[0])
    if len(matches) > 1:
        raise ConfigError(
            f"`{reference}` is the beginning of {len(matches)} runs: {', '.join(matches[:8])}", hint="give more digits"
        )
    named = [record for record in _folded(state, run_ids) if reference in (record.name, record.mlflow_run_id)]
    if not named:
        raise ConfigError(f"no run `{reference}`", hint="`launch runs` lists them; `@last` is the latest")
    return named[-1]


def is_tended(run_dir: RunDir, events: Sequence[Event]) -> bool:
    """Whether a process still tends to the run: its supervisor, its container's init, the command that is building, or
    a cluster's engine (until that is found to have ended it)."""
    if is_locked(run_dir.supervisor_lock):
        return True
    if job_of(events) is not None:
        return True
    current = journal.since_resumed(events)
    started = _last(current, "started")
    if started is not None and started.get("init_pid") is not None:
        return init_lives(current)
    return same_process(current[0].get("pid"), current[0].get("pid_started"))


def init_lives(events: Sequence[Event]) -> bool:
    """Whether the init of the container that was started last still runs."""
    started = _last(events, "started")
    return started is not None and same_process(started.get("init_pid"), started.get("init_started"))


def same_process(pid: Any, started: Any) -> bool:
    """Whether the process *pid* that started at *started* (`process_started`) still runs; a reused number doesn't count."""
    if not isinstance(pid, int):
        return False
    now = process_started(pid)
    return now is not None and (started is None or now == started)


def process_started(pid: int) -> str | None:
    """When a living process started: which boot, and clock ticks since (proc_pid_stat(5), field 22); None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in (b"Z", b"X") else f"{_boot()}+{int(after_name[19])}"


def _boot() -> str:
    """What tells this boot of the machine from the others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return ""


def run_url(mlflow: dict[str, Any]) -> str | None:
    """Where a person sees the run in the MLflow UI."""
    base = mlflow.get("ui_uri")
    if not base or not mlflow.get("run_id"):
        return None
    return f"{str(base).rstrip('/')}/#/experiments/{mlflow.get('experiment_id')}/runs/{mlflow['run_id']}"


def _status(events: Sequence[Event], finished: Event | None, *, alive: bool) -> tuple[RunStatus, str | None]:
    if finished is not None:
        reason = Reason(finished.get("reason", Reason.LAUNCHER))
        return reason.status, reason.value
    if not alive:
        return RunStatus.KILLED, Reason.LOST.value
    return (RunStatus.RUNNING if _last(events, "started") else RunStatus.SCHEDULED), None


def _phase(events: Sequence[Event]) -> str:
    moving = [event.name for event in events if event.name not in _STILL]
    if "paused" in moving:
        last = [event.name for event in events if event.name in ("paused", "unpaused", "started", "stopping", "finished")][-1]
        moving = moving if last == "paused" else [name for name in moving if name != "paused"]
    return moving[-1] if moving else events[-1].name


def _waits_for(events: Sequence[Event]) -> str | None:
    """`place 2 of 3 in line for 2 GPUs: …` while that is the last that happened."""
    for event in reversed(events):
        if event.name == "waiting":
            return in_line(event)
        if event.name in ("leased", "stopping"):
            return None
    return None


def in_line(waiting: Event) -> str:
    """A `waiting` event in words."""
    return f"place {waiting.get('place')} of {waiting.get('of')} in line for {waiting.get('text')}"


def _carried(events: Iterable[Event]) -> dict[str, Any]:
    carried: dict[str, Any] = {}
    for event in events:
        for name, value in event.fields.items():
            if name in _CARRIED and value is not None and name not in _MEANT_OTHERWISE.get(event.name, ()):
                carried[name] = tuple(value) if name in ("overrides", "command", "argv", "gpus", "ports") else value
    return carried


def _facts(events: Iterable[Event]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for event in events:
        facts.update(event.get("facts") or {})
    return facts


def _mlflow(run_dir: RunDir, events: Sequence[Event]) -> dict[str, Any]:
    # The file is written before the event: a supervisor that was killed in between leaves only the file.
    event = _last(events, "mlflow")
    known = json_object(run_dir.mlflow) or (dict(event.fields) if event else {})
    if known and not known.get("tracking_uri"):
        known["ui_uri"] = local_ui(StateDir(run_dir.root.parent.parent)) or known.get("ui_uri")
    return known


def local_ui(state: StateDir) -> str | None:
    """Where the local MLflow server shows its UI: its port is that of its last start."""
    try:
        return f"http://127.0.0.1:{int((state.mlflow / 'ui_port').read_text())}"
    except (FileNotFoundError, ValueError):
        return None


def _last(events: Sequence[Event], name: str) -> Event | None:
    """The latest event of that name, unless a sweep was taken up again after it."""
    for event in reversed(events):
        if event.name == name:
            return event
        if name == "finished" and event.name in ("started", "queued"):
            return None
    return None


def _nth_last(state: StateDir, reference: str) -> RunRecord:
    form = re.fullmatch(r"@last(?:~(\d+))?", reference)
    if form is None:
        raise ConfigError(f"`{reference}` is not a run", hint="write `@last` or `@last~1`, `@last~2`, ...")
    launched = [record for record in list_runs(state) if record.trial is None]
    back = int(form[1] or 0)
    if back >= len(launched):
        count = len(launched)
        there = "there are no runs yet" if not count else "there is 1 run" if count == 1 else f"there are {count} runs"
        raise ConfigError(f"no run `{reference}`: {there}", hint="`launch experiment=NAME` makes one" if not count else None)
    return launched[-1 - back]


def _one(state: StateDir, run_id: str) -> RunRecord:
    record = fold(state.run(run_id))
    if record is None:
        raise ConfigError(f"run `{run_id}` has no journal: its launch ended before anything was recorded")
    return record


def _folded(state: StateDir, run_ids: Sequence[str]) -> list[RunRecord]:
    from launcher.tracking.record.run_index import indexed_records

    return sorted(indexed_records(state, run_ids), key=lambda record: (record.created_at, record.run_id))


def _run_ids(state: StateDir) -> list[str]:
    try:
        return sorted(entry for entry in os.listdir(state.runs) if re.fullmatch(r"[0-9a-f]{6,}", entry))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
