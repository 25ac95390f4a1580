"""`tracker.json`: how far MLflow knows about the run. Written atomically after each answer, so a killed tracker loses one answer.

Nothing in it is needed to know the run (the journal is the truth); it makes going on cheap, and some requests unique. It holds
the token of the run's gateway, hence 0600 in a directory of 0700.
"""

from __future__ import annotations

import json
import os
from typing import Any

from launcher.journal.status import RunStatus
from runtime.light_dataclasses import dataclass, field, fields
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file


@dataclass(slots=True)
class TrackerState:
    """Mutable on purpose: one owner (the tracker, or `sync_run`), under `tracker.lock`."""

    token: str = ""
    provisional_id: str = ""
    """The run's id in the local server. In another server, which chooses itself: what the program was told as its run id when
    it had to start before MLflow answered; the gateway translates it."""
    creating: bool = False
    """A runs/create was sent and its answer not seen: look for the run before creating another."""
    params_sent: bool = False
    datasets_sent: bool = False
    status: str = ""
    end_ms: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    logged: int = 0
    system: int = 0
    system_samples: int = 0
    files: dict[str, list[int]] = field(default_factory=dict)
    """Uploaded artifacts: path → size and mtime in ns."""
    artifacts_sent_for: int | None = None
    """The end (ms) of the run whose artifacts are all sent; another one after a resume."""
    children: dict[str, bool] = field(default_factory=dict)
    """Runs that the program made through the gateway → whether they have ended."""
    is_taken: bool = False
    """Whether the program has taken the run up, or asked for one and got it: who asks for another gets a child."""
    models: list[str] = field(default_factory=list)
    uploaded: dict[str, int] = field(default_factory=dict)
    """Artifacts that the program has logged, its models' too → bytes; kept where `outputs.max_size` bounds them."""
    refused: list[str] = field(default_factory=list)
    """What MLflow refused for good, in its words, and what of the program's words the launcher did not take; the first ones."""
    failure: str = ""
    """Why MLflow has not got everything, when it was tried last; empty again once it has."""
    is_given_up: bool = False
    """Whether nobody tries any more without being asked to: MLflow would say the same again."""
    needs_credentials: bool = False
    """Whether only somebody with other credentials can send it."""
    notes: list[str] = field(default_factory=list)
    """What else whoever launched the run should know."""


def new_run_id() -> str:
    """An id as MLflow makes them."""
    return os.urandom(16).hex()


def new_token() -> str:
    """What the program of a run shows its gateway."""
    return os.urandom(24).hex()


def is_complete(state: TrackerState, status: RunStatus, end_ms: int | None) -> bool:
    """Whether MLflow knows that the run ended so, and everything that came before."""
    return status.is_final and (state.status, state.end_ms, state.artifacts_sent_for) == (status.value, end_ms, end_ms)


def load(run_dir: RunDir) -> TrackerState:
    try:
        document: dict[str, Any] = json.loads(run_dir.tracker_state.read_bytes())
    except (FileNotFoundError, ValueError):
        return TrackerState()
    known = {each.name for each in fields(TrackerState)}
    return TrackerState(**{name: value for name, value in document.items() if name in known})


def save(run_dir: RunDir, state: TrackerState) -> None:
    # After each answer of MLflow, so it counts: neither copies of everything (asdict) nor json.dump, which encodes in Python.
    replace_file(run_dir.tracker_state, json.dumps({each.name: getattr(state, each.name) for each in fields(state)}))
