"""`trials.jsonl` in the directory of a sweep's parent run: what was asked for, who tried it, how that ended.

    total     trials: how many there will be; again when that changes, None while nobody knows
    place     words: how it stands there with the sweep's trials, where that is a cluster; again when that changes
    asked     number, point, overrides
    started   number, run_id, gpus, node (of a cluster), overrides (of this try: a rule may have changed them)
    ended     number, run_id, verdict, values, violations, reason

Each with `at` (Unix seconds). A line is one write(2), as in a run's journal (`launcher.journal.run_journal`), and the study of a
resumed sweep is made from it again; who watches a sweep reads it as it grows (`followed.py`).
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.growing_file import GrowingFile
from launcher.journal.run_journal import append_line
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.search.study import Suggestion
from runtime.errors import error_words
from runtime.light_dataclasses import dataclass, field
from runtime.light_typing import NamedTuple


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

    asked: Suggestion
    tries: list[Try] = field(default_factory=list)

    @property
    def end(self) -> Try | None:
        """The try that decided; None while it is open."""
        return next((each for each in reversed(self.tries) if each.verdict is not None and each.verdict.is_final), None)


class TrialLog:
    """The writer; one a sweep."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._total: int | None = -1
        self._place: str | None = None

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

    def asked(self, asked: Suggestion) -> None:
        self._append("asked", number=asked.number, point=asked.point, overrides=list(asked.overrides))

    def started(self, number: int, run_id: str, overrides: tuple[str, ...], *, gpus: float = 0, node: str | None = None) -> None:
        where = {} if node is None else {"node": node}
        self._append("started", number=number, run_id=run_id, gpus=gpus, **where, overrides=list(overrides))

    def ended(self, number: int, run_id: str, verdict: Verdict, *, reason: str | None, end: End | None = None) -> None:
        told = {} if end is None else {"values": list(end.values), "violations": list(end.violations)}
        self._append("ended", number=number, run_id=run_id, verdict=str(verdict), reason=reason, **told)

    def _append(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "at": time.time(), **fields}, separators=(",", ":")).encode() + b"\n"
        try:
            append_line(self._path, line)
        except OSError as error:
            hint = "`launch gc` frees what no image needs" if error.errno == errno.ENOSPC else None
            raise LaunchError(f"`{self._path}` cannot be written: {error_words(error)}", hint=hint) from error


class Total(NamedTuple):
    """How many trials there will be; None while nobody knows."""

    trials: int | None


class PlaceWords(NamedTuple):
    """How it stands where the trials run."""

    words: str | None


class TryStarted(NamedTuple):
    """Of the trial *number*, as the run *run_id*."""

    at: float
    """Unix seconds."""
    number: int
    run_id: str
    overrides: tuple[str, ...]
    gpus: float
    node: str | None


class TryEnded(NamedTuple):
    at: float
    number: int
    run_id: str
    verdict: Verdict
    reason: str | None
    end: End | None
    """What the trial comes to, where the verdict is final."""


class TrialLogReader:
    """A log read as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)

    def new_entries(self) -> Iterator[Total | PlaceWords | Suggestion | TryStarted | TryEnded]:
        """What was added since the last call; a line that is none, as a killed writer leaves one, is left out."""
        for line in self._file.new_lines():
            try:
                entry = _entry(json.loads(line))
            except (ValueError, LookupError, TypeError):
                continue
            if entry is not None:
                yield entry


def _entry(line: dict[str, Any]) -> Total | PlaceWords | Suggestion | TryStarted | TryEnded | None:
    event = line["event"]
    if event == "total":
        return Total(line.get("trials"))
    if event == "place":
        return PlaceWords(line.get("words"))
    at, number = float(line["at"]), int(line["number"])
    if event == "asked":
        return Suggestion(number, int(line["point"]), tuple(line["overrides"]))
    if event == "started":
        overrides, gpus = tuple(line["overrides"]), float(line.get("gpus") or 0)
        return TryStarted(at, number, line["run_id"], overrides, gpus, line.get("node"))
    if event == "ended":
        verdict, end = Verdict(line["verdict"]), None
        if verdict.is_final:
            end = End(EndState(verdict), tuple(line.get("values", ())), tuple(line.get("violations", ())))
        return TryEnded(at, number, line["run_id"], verdict, line.get("reason"), end)
    return None  # of a newer launch


def read_place(path: Path) -> str | None:
    """How it stood last where the trials run, when that is a cluster."""
    return next((entry.words for entry in _newest_first(path) if isinstance(entry, PlaceWords)), None)


def read_total(path: Path) -> int | None:
    """How many trials the sweep has, as it was known last."""
    return next((entry.trials for entry in _newest_first(path) if isinstance(entry, Total)), None)


def _newest_first(path: Path) -> list[Total | PlaceWords | Suggestion | TryStarted | TryEnded]:
    return [*TrialLogReader(path).new_entries()][::-1]


def read_trials(path: Path) -> dict[int, LoggedTrial]:
    """Every trial by number, in the order in which they were asked for."""
    trials: dict[int, LoggedTrial] = {}
    for entry in TrialLogReader(path).new_entries():
        if isinstance(entry, Suggestion):
            trials[entry.number] = LoggedTrial(entry)
        elif isinstance(entry, TryStarted):
            trials[entry.number].tries.append(Try(entry.run_id, entry.overrides, node=entry.node))
        elif isinstance(entry, TryEnded):
            tries = trials[entry.number].tries
            ended = next((each for each in reversed(tries) if each.run_id == entry.run_id), None)
            if ended is not None:
                ended.verdict, ended.reason, ended.end = entry.verdict, entry.reason, entry.end
    return trials
