"""`trials.jsonl` in the directory of a sweep's parent run: what was asked for, who tried it, how that ended.

    total     trials: how many there will be; again when that changes, None while nobody knows
    place     words: how it stands there with the sweep's trials, where that is a cluster; again when that changes
    asked     number, point, overrides
    started   number, run_id, gpus, node (of a cluster), overrides (of this try: a rule may have changed them)
    ended     number, run_id, verdict, values, violations, reason

Each with `at` (Unix seconds). A line is one write(2), as in a run's journal (`launcher.journal.journal`), and the study of a
resumed sweep is made from it again; who watches a sweep reads it as it grows (`followed.py`).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.search.study import Asked
from launcher.tracking.record.json_lines import json_objects


class Verdict(StrEnum):
    """What a try means for its trial."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    AGAIN = "again"
    """It is tried again: it failed and may, or it was not its fault."""
    CUT_SHORT = "cut_short"
    """A person stopped it: a resumed sweep tries it again."""

    @property
    def is_final(self) -> bool:
        return self in (Verdict.COMPLETE, Verdict.PRUNED, Verdict.FAILED)


@dataclass(slots=True)
class Try:
    """One run of a trial."""

    run_id: str
    overrides: tuple[str, ...]
    verdict: Verdict | None = None
    """None: nobody has seen its end yet."""
    reason: str | None = None
    end: End | None = None
    node: str | None = None
    """Of a cluster."""


@dataclass(slots=True)
class LoggedTrial:
    """A trial as the log tells it."""

    asked: Asked
    tries: list[Try] = field(default_factory=list)

    @property
    def end(self) -> Try | None:
        """The try that decided; None while it is open."""
        return next((each for each in reversed(self.tries) if each.verdict is not None and each.verdict.is_final), None)


class TrialLog:
    """The writer; one a sweep."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        self._total: int | None = -1
        self._place: str | None = None

    def close(self) -> None:
        os.close(self._fd)

    def total(self, trials: int | None) -> None:
        """How many trials the sweep will have, as far as is known now."""
        if trials != self._total:
            self._append("total", trials=trials)
            self._total = trials

    def place(self, words: str | None) -> None:
        """How it stands where the trials run."""
        if words != self._place:
            self._append("place", words=words)
            self._place = words

    def asked(self, asked: Asked) -> None:
        self._append("asked", number=asked.number, point=asked.point, overrides=list(asked.overrides))

    def started(self, number: int, run_id: str, overrides: tuple[str, ...], *, gpus: float = 0, node: str | None = None) -> None:
        where = {} if node is None else {"node": node}
        self._append("started", number=number, run_id=run_id, gpus=gpus, **where, overrides=list(overrides))

    def ended(self, number: int, run_id: str, verdict: Verdict, *, reason: str | None, end: End | None = None) -> None:
        told = {} if end is None else {"values": list(end.values), "violations": list(end.violations)}
        self._append("ended", number=number, run_id=run_id, verdict=str(verdict), reason=reason, **told)

    def _append(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "at": time.time(), **fields}, separators=(",", ":")).encode() + b"\n"
        line = b"\n" + line if self._torn else line
        written = os.write(self._fd, line)
        self._torn = written != len(line)
        if self._torn:
            raise LaunchError(f"`{self._path}` cannot be written: the disk is full", hint="`launch gc` frees what no image needs")


def read_place(path: Path) -> str | None:
    """How it stood last where the trials run, when that is a cluster."""
    words = None
    for line in json_objects(path):
        words = line.get("words") if line["event"] == "place" else words
    return words


def read_total(path: Path) -> int | None:
    """How many trials the sweep has, as it was known last."""
    total = None
    for line in json_objects(path):
        total = line.get("trials") if line["event"] == "total" else total
    return total


def read_trials(path: Path) -> dict[int, LoggedTrial]:
    """Every trial by number, in the order in which they were asked for. A line that a killed writer left half is skipped."""
    trials: dict[int, LoggedTrial] = {}
    for line in json_objects(path):
        if line["event"] in ("total", "place"):
            continue
        number = int(line["number"])
        if line["event"] == "asked":
            trials[number] = LoggedTrial(Asked(number, int(line["point"]), tuple(line["overrides"])))
        elif line["event"] == "started":
            trials[number].tries.append(Try(line["run_id"], tuple(line["overrides"]), node=line.get("node")))
        elif line["event"] == "ended":
            _end(trials[number], line)
    return trials


def _end(trial: LoggedTrial, line: dict[str, Any]) -> None:
    found = next((each for each in reversed(trial.tries) if each.run_id == line["run_id"]), None)
    if found is None:
        return
    found.verdict, found.reason = Verdict(line["verdict"]), line.get("reason")
    if found.verdict.is_final:
        found.end = End(EndState(found.verdict), tuple(line.get("values", ())), tuple(line.get("violations", ())))
