"""The records of runs that have ended, in one file: whoever lists ten thousand runs reads that, not ten thousand journals.

`cache/runs.json` is never the truth and may be deleted at any time. An entry counts while its run's directory and journal are as
they were when it was folded (inode, size, times): whatever is told of a run later, by `launch resume`, `sync` or anybody, changes
one of them. Records stand in it field by field, since most fields have few values: that is read ten times as fast as records.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import Any

from launcher.journal.status import RunStatus
from launcher.tracking.record.run_record import RunRecord, fold, local_ui
from launcher.version import VERSION
from runtime.state_dir import RunDir, StateDir
from runtime.whole_file import replace_file

_FIELDS = tuple(RunRecord.__dataclass_fields__)
_TYPES = {name: str(field.type) for name, field in RunRecord.__dataclass_fields__.items()}
_TIMES = tuple(name for name, of in _TYPES.items() if of.startswith("datetime"))
_TUPLES = tuple(name for name, of in _TYPES.items() if of.startswith("tuple"))
_LOCAL_UI = "{local}"
"""In the URL of a run whose MLflow is the local one, whose port changes."""

_SETTLED_NS = 2_000_000_000
"""A file that was written just now may be written again within one tick of its clock: such a run is folded the next time, too."""

_WORTH_WRITING = 20
"""So many runs that are not in the file, and a fiftieth of those that are, are folded each time before it is written anew."""

_LATER = "usage"
"""The field whose values are many and seldom asked for: a line of text for each run below the others, decoded when it is."""


class _Later(Mapping[str, Any]):
    """A JSON object that is decoded when somebody looks into it."""

    __slots__ = ("_known", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._known: dict[str, Any] | None = None

    def _decoded(self) -> dict[str, Any]:
        if self._known is None:
            self._known = json.loads(self._text)
        return self._known

    def __getitem__(self, name: str) -> Any:
        return self._decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())


def indexed_records(state: StateDir, run_ids: Sequence[str]) -> list[RunRecord]:
    """The records of those runs that have a journal, in no order."""
    stamps = _stamps(state, run_ids)
    known = _read(state)
    valid = {run_id for run_id, stamp in stamps.items() if run_id in known and known[run_id][0] == stamp}
    fresh = [record for run_id in stamps if run_id not in valid and (record := fold(state.run(run_id))) is not None]
    kept = [record for run_id, (_stamp, record) in known.items() if run_id in valid]
    if len(fresh) > _WORTH_WRITING + len(kept) // 50:
        _write(state, [record for record in (*kept, *fresh) if record.exit_code is not None], stamps)
    return kept + fresh


def _stamps(state: StateDir, run_ids: Iterable[str]) -> dict[str, int]:
    """What tells of each run whether it is as it was. A run that is being removed has none, nor one that is another user's."""
    stamps: dict[str, int] = {}
    try:
        runs_fd = os.open(state.runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return stamps
    now = time.time_ns()
    settled = now - _SETTLED_NS
    try:
        for run_id in run_ids:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                of_run, journal = os.stat(run_id, dir_fd=runs_fd), os.stat(f"{run_id}/journal.jsonl", dir_fd=runs_fd)
                facts = (of_run.st_ino, of_run.st_mtime_ns, journal.st_ino, journal.st_size, journal.st_mtime_ns)
                # One that is too young has a stamp that no other look gives.
                stamps[run_id] = hash(facts) if max(facts[1], facts[4]) < settled else hash((now, *facts))
    finally:
        os.close(runs_fd)
    return stamps


def _path(state: StateDir) -> Path:
    return state.cache / "runs.json"


def _read(state: StateDir) -> dict[str, tuple[int, RunRecord]]:
    """Run id → its stamp and its record; empty when there is no such file, one of another version, or a damaged one."""
    with _no_collections():
        try:
            first, *others = _path(state).read_bytes().split(b"\n")
            document = json.loads(first)
            if document["version"] != _version():
                return {}
            columns = {name: _decoded(column) for name, column in document["columns"].items()}
            columns[_LATER] = list(map(_Later, others))
            records = _records(state, columns)
            return dict(zip(columns["run_id"], zip(columns["stamp"], records, strict=True), strict=True))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
            return {}


def _records(state: StateDir, columns: dict[str, list[Any]]) -> list[RunRecord]:
    """Made without their constructor, which would take most of the time."""
    count, runs, ui = len(columns["run_id"]), f"{state.runs}/", local_ui(state)
    columns["run_dir"] = [RunDir(Path(runs + run_id)) for run_id in columns["run_id"]]
    columns["status"] = list(map({str(status): status for status in RunStatus}.__getitem__, columns["status"]))
    columns["mlflow_url"] = [_with_ui(url, ui) for url in columns["mlflow_url"]]
    for name in _TIMES:
        columns[name] = [None if at is None else datetime.fromtimestamp(at, UTC) for at in columns[name]]
    for name in _TUPLES:
        columns[name] = list(map(tuple, columns[name]))
    records = list(map(object.__new__, repeat(RunRecord, count)))
    for name in _FIELDS:
        deque(map(getattr(RunRecord, name).__set__, records, columns[name]), maxlen=0)
    return records


def _with_ui(url: str | None, ui: str | None) -> str | None:
    if url is None or not url.startswith(_LOCAL_UI):
        return url
    return None if ui is None else ui + url.removeprefix(_LOCAL_UI)


def _write(state: StateDir, records: Sequence[RunRecord], stamps: Mapping[str, int]) -> None:
    """Of two who write at once the last one stays; both are right."""
    ui = local_ui(state)
    read: dict[str, Callable[[RunRecord], Any]] = {name: attrgetter(name) for name in _FIELDS[1:] if name != _LATER}
    read |= {name: _time_of(name) for name in _TIMES}
    read |= {"status": lambda record: record.status.value, "stamp": lambda record: stamps[record.run_id]}
    read["mlflow_url"] = lambda record: _without_ui(record.mlflow_url, ui)
    columns = {name: _encoded([value(record) for record in records]) for name, value in read.items()}
    first = json.dumps({"version": _version(), "columns": columns}, separators=(",", ":"), default=str)
    content = "\n".join([first, *(json.dumps(dict(getattr(record, _LATER)), default=str) for record in records)])
    with suppress(OSError):  # a full disk, or a directory that is not ours: the next time then
        replace_file(_path(state), content)


def _time_of(name: str) -> Callable[[RunRecord], float | None]:
    def read(record: RunRecord) -> float | None:
        at: datetime | None = getattr(record, name)
        return None if at is None else at.timestamp()

    return read


def _without_ui(url: str | None, ui: str | None) -> str | None:
    return _LOCAL_UI + url.removeprefix(ui) if url is not None and ui is not None and url.startswith(f"{ui}/") else url


def _encoded(values: list[Any]) -> dict[str, Any]:
    """Each value once, and which one each run has, where that is less."""
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(json.dumps(value, default=str), len(numbers)) for value in values]
    if len(numbers) * 4 > len(values):
        return {"values": values}
    return {"values": [json.loads(text) for text in numbers], "codes": codes}


def _decoded(column: Mapping[str, Any]) -> list[Any]:
    codes = column.get("codes")
    return list(column["values"]) if codes is None else list(map(column["values"].__getitem__, codes))


def _version() -> list[Any]:
    return [VERSION, *_FIELDS]


@contextmanager
def _no_collections() -> Iterator[None]:
    """A hundred thousand new objects and no garbage: the collector would look through them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
