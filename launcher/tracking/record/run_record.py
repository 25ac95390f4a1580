"""What is known about a run: its journal, folded. `launch runs`, `launch runs show` and `rerun` read this.

A record is never stored: the journal is the truth (`launcher.journal.run_state`), the last metric values come from
`last_metrics.json`. Finding runs is `find_runs.py`; ending one that lost its supervisor is `launcher.run.recover`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from launcher.journal.run_journal import read_state
from launcher.journal.run_state import RunState
from launcher.journal.status import Reason, RunStatus
from runtime.file_lock import is_locked
from runtime.json_files import json_object
from runtime.kernel.process_identity import is_same_process
from runtime.light_dataclasses import dataclass, field
from runtime.state_dir import RunDir, StateDir


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
    """What a run that stands in line for GPUs waits for, with its place; also of a container to work in that gave them back."""
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
            document[name] = strict(value)
        return document


def strict(value: Any) -> Any:
    """*value* with NaN and the infinities as the words that MLflow's API has for them."""
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def fold(run_dir: RunDir) -> RunRecord | None:
    """The record of *run_dir*; None when it has no journal (a launch that died in its first millisecond)."""
    return record_of(run_dir, read_state(run_dir.journal))


def record_of(run_dir: RunDir, state: RunState) -> RunRecord | None:
    """The record of the run that *run_dir* holds and *state* tells of."""
    created, finished = state.created, state.finished
    if created is None:
        return None
    alive = not state.is_over and is_tended(run_dir, state)
    status, reason = _status(state, alive=alive)
    mlflow = _mlflow(run_dir, state)
    waiting = (state.waiting or state.gpus_away) if alive else None
    return RunRecord(
        run_dir=run_dir,
        run_id=run_dir.run_id,
        status=status,
        created_at=_utc(state.created_at),
        experiment=created.experiment,
        name=created.name or "",
        note=created.note or "",
        parent_run_id=created.parent_run_id,
        sweep_id=created.sweep_id,
        trial=created.trial,
        waits_for=None if waiting is None else waiting.words,
        phase=state.phase,
        alive=alive,
        reason=reason,
        exit_code=finished.exit_code if finished else None,
        signal=finished.signal if finished else None,
        message=finished.message if finished else None,
        attempt=state.attempt,
        image_digest=state.image_digest,
        spec_digest=created.spec_digest,
        code_digest=created.code_digest,
        lock_digest=created.lock_digest,
        base_digest=created.base_digest,
        mlflow_run_id=mlflow.get("run_id"),
        mlflow_url=run_url(mlflow),
        started_at=None if state.first_started_at is None else _utc(state.first_started_at),
        finished_at=None if state.finished_at is None else _utc(state.finished_at),
        duration_s=state.running_s(until=None if alive else state.last_at),
        params=created.params or {},
        metrics=json_object(run_dir.last_metrics),
        usage=state.usage or {},
        seed=created.seed,
        overrides=created.overrides,
        command=created.command,
        argv=created.argv,
        gpus=() if alive and state.gpus_away is not None else state.gpus,
        ports=state.ports,
        host=state.host,
        job=state.last_job,
        user=created.user,
        facts=state.facts,
        nodes=tuple(state.nodes[number] for number in sorted(state.nodes)),
        notes=tuple(state.notes),
    )


def is_tended(run_dir: RunDir, state: RunState) -> bool:
    """Whether a process still tends to the run: its supervisor, its container's init, the command that is building, or
    a cluster's engine (until that is found to have ended it)."""
    if is_locked(run_dir.supervisor_lock) or state.job is not None:
        return True
    if state.started is not None and state.started.init_pid is not None:
        return is_init_alive(state)
    return state.begun is not None and is_same_process(state.begun.pid, state.begun.pid_started)


def is_init_alive(state: RunState) -> bool:
    """Whether the init of the container that was started last still runs."""
    return state.started is not None and is_same_process(state.started.init_pid, state.started.init_started)


def run_url(mlflow: dict[str, Any]) -> str | None:
    """Where a person sees the run in the MLflow UI, which shows a browser that is new there GenAI instead of trainings."""
    base = mlflow.get("ui_uri")
    if not base or not mlflow.get("run_id"):
        return None
    page = f"experiments/{mlflow.get('experiment_id')}/runs/{mlflow['run_id']}"
    return f"{str(base).rstrip('/')}/#/{page}?workflowType=machine_learning"


def _status(state: RunState, *, alive: bool) -> tuple[RunStatus, str | None]:
    if state.finished is not None:
        reason = Reason.named(state.finished.reason)
        return reason.status, reason.value
    if not alive:
        return RunStatus.KILLED, Reason.LOST.value
    return (RunStatus.RUNNING if state.started is not None else RunStatus.SCHEDULED), None


def _mlflow(run_dir: RunDir, state: RunState) -> dict[str, Any]:
    # The file is written before the event: a supervisor that was killed in between leaves only the file.
    known = json_object(run_dir.mlflow) or (state.mlflow._asdict() if state.mlflow is not None else {})
    if known and not known.get("tracking_uri"):
        known["ui_uri"] = local_ui(run_dir.state) or known.get("ui_uri")
    return known


def local_ui(state: StateDir) -> str | None:
    """Where the local MLflow server shows its UI: its port is that of its last start."""
    try:
        return f"http://127.0.0.1:{int((state.mlflow / 'ui_port').read_text())}"
    except (FileNotFoundError, ValueError):
        return None


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
