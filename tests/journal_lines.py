"""Lines of a run's journal as they stand in the file, for tests that play one of its writers, or look at what was written."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.journal.run_journal import append_line
from launcher.journal.run_state import RunState


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    at: float
    fields: dict[str, Any]

    def get(self, field: str, default: Any = None) -> Any:
        return self.fields.get(field, default)


def write_event(path: Path, name: str, /, *, at: float | None = None, **fields: Any) -> None:
    """Add a line to the journal at *path*; `placement="17.0"` makes it that placement's."""
    document = {"event": name, "at": time.time() if at is None else at, **fields}
    append_line(path, json.dumps(document, default=str).encode() + b"\n")


def read_lines(path: Path) -> list[Line]:
    """Everything that stands there, counted or not; empty when there is no file."""
    if not path.exists():
        return []
    documents = [json.loads(line) for line in path.read_text().splitlines() if line]
    return [Line(document.pop("event"), document.pop("at"), document) for document in documents]


def names_in(path: Path) -> list[str]:
    return [line.name for line in read_lines(path)]


def state_after(tmp_path: Path, *events: tuple[str, float] | tuple[str, float, dict[str, Any]]) -> RunState:
    """The run after *events*, each a name, a time and perhaps fields."""
    from launcher.journal.run_journal import read_state

    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    for name, at, *fields in events:
        write_event(path, name, at=at, **(fields[0] if fields else {}))
    return read_state(path)
