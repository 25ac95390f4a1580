"""`logged.jsonl`: everything that a run reported, in order, each with the time at which it was seen.

    {"key": "loss", "value": 0.2, "step": 3, "time": 1795523995123, "from": 181}    a metric; `from`: see below
    {"param": "depth", "value": "3"}    {"tag": "note", "value": "x"}                sent by the program through the gateway
    {"post": "runs/log-inputs", "body": {...}}                                      kept for MLflow as it came

Two kinds of sources end here: the MLflow gateway, and files that grow (`metric_files.py`). MLflow stores an identical point
once, so sending it twice is harmless, but only if its time is the same: hence the times are written down before anything is
sent. `from` is the offset behind the point in its file, so that a new tracker goes on where a killed one stopped; `of` names
the file when it isn't metrics.jsonl.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.growing_file import GrowingFile
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file, write_all

METRICS = "metrics.jsonl"
"""The source that an entry with an offset has when it names none."""

_LINE_MAX = 1 << 20
_LAST_EVERY_S = 1.0

# Made once: `json.dumps` makes an encoder for each call that has wishes.
_encoded = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii
_POINT_FIELDS = 4

SLICE = 128 << 10
"""What is read at once of a file of ours: some 2,000 points, which take 30 times as much memory while they are sent."""

# What MLflow's database can hold. A step or a time beyond is one that the program did not mean.
STEP_MAX = 2**53
TIME_END_S = 253402300800  # the year 10000


@dataclass(frozen=True, slots=True)
class FoundMetric:
    """A metric as it was found in a file."""

    key: str
    value: float
    step: int | None = None
    """None: the next one of its metric."""
    time_ms: int | None = None
    """None: now."""


class MetricLog:
    """The writer of `logged.jsonl`; one a run. Safe to use from several threads."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._reports: dict[str, int] = {}
        self._changed = False
        self._written_at = 0.0
        self.offsets: dict[str, int] = {}
        """How far each file that metrics were found in is written down, in the order in which they had their first."""
        self.so_far = RunSoFar()
        self.notes: list[str] = []
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(run_dir.logged, flags, 0o600)
        _cut_torn_line(self._file)
        self._size = os.fstat(self._file).st_size
        self._torn = b""
        for entry in read_entries(run_dir.logged):
            self._remember(entry)

    def close(self) -> None:
        """Whoever still answers a program is refused from here on: the descriptor may soon be another file's."""
        with self._lock:
            os.close(self._file)
            self._file = -1

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write *entries* down. Returns when they are in the file. Raises LaunchError when the disk doesn't take them."""
        if not entries:
            return
        lines = "".join([_line(entry) for entry in entries]).encode()
        with self._lock:
            if self._file < 0:
                raise LaunchError("the run has ended")
            try:
                write_all(self._file, self._torn + lines)
            except OSError as error:
                # Whole lines of it may have been read and sent already, so they stay; half a line must not spoil the next one.
                self._torn = b"\n"
                raise LaunchError(f"cannot write to `{self._run_dir.logged}`: {error.strerror}") from error
            finally:
                self._size = os.fstat(self._file).st_size
            self._torn = b""
            for entry in entries:
                self._remember(entry)

    def add_found(self, seen: Sequence[tuple[FoundMetric, int]], *, source: str) -> None:
        """Write down what was found in the file *source*, each with the offset behind it. Raises LaunchError as `add` does."""
        ahead: dict[str, int] = {}
        entries = []
        now_ms = int(time.time() * 1000)
        of = {} if source == METRICS else {"of": source}
        for found, offset in seen:
            number = self._reports.get(found.key, 0) + ahead.get(found.key, 0)
            ahead[found.key] = ahead.get(found.key, 0) + 1
            point = metric(
                found.key,
                found.value,
                step=number if found.step is None else found.step,
                time_ms=now_ms if found.time_ms is None else found.time_ms,
            )
            entries.append({**point, **of, "from": offset})
        self.add(entries)

    def write_last_metrics(self, *, at_once: bool = True) -> None:
        """`last_metrics.json`, when a value has changed; without *at_once* it may be a second old."""
        with self._lock:
            now = time.monotonic()
            # A file system makes room on its disk for each file that replaces one (ext4: `auto_da_alloc`): 5 ms.
            if not self._changed or (not at_once and now - self._written_at < _LAST_EVERY_S):
                return
            self._changed, self._written_at = False, now
            document = json.dumps(self.so_far.last)
        replace_file(self._run_dir.last_metrics, document)

    def _remember(self, entry: dict[str, Any]) -> None:
        self.so_far.remember(entry, self._size)
        if "key" in entry:
            self._reports[entry["key"]] = self._reports.get(entry["key"], 0) + 1
            if "from" in entry:
                # The last, not the largest: a program may have cut its file, which is read again then.
                self.offsets[entry.get("of", METRICS)] = entry["from"]
            self._changed = True

    def note(self, text: str) -> None:
        """Once for each run: the first bad line, not the ten thousandth."""
        if not self.notes:
            self.notes.append(text)


def metric(key: str, value: float, *, step: int, time_ms: int) -> dict[str, Any]:
    """A metric as an entry; NaN and the infinities as MLflow's REST API wants them, which is strict JSON too."""
    return {"key": key, "value": as_json(value), "step": step, "time": time_ms}


def _line(entry: dict[str, Any]) -> str:
    value = entry.get("value")
    if len(entry) == _POINT_FIELDS and "key" in entry and isinstance(value, float):
        # Most of what comes are points, and the program waits: what the encoder makes, in a quarter of its time.
        return f'{{"key":{_quoted(entry["key"])},"value":{value!r},"step":{entry["step"]},"time":{entry["time"]}}}\n'
    return _encoded(entry) + "\n"


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines of a `logged.jsonl`."""
    offset = 0
    while True:
        entries, end = read_slice(path, offset)
        yield from entries
        if end == offset:
            return
        offset = end


def read_slice(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The next whole lines of a file of ours from *offset* on (some thousand at most), and the offset behind them."""
    file = GrowingFile(path, offset, slice_bytes=SLICE)
    entries = []
    for line in next(file.slices(), []):
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries, file.offset


def _cut_torn_line(descriptor: int) -> None:
    """Take away what a tracker wrote of a line when it was killed: nothing of it was acknowledged, and a metric is read again."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - _LINE_MAX)
    whole = begin + os.pread(descriptor, size - begin, begin).rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(descriptor, whole)


Point = tuple[int, int, float]
"""Step, time in milliseconds, value: the greatest is the latest (mlflow, `_update_latest_metrics_if_necessary`)."""


class RunSoFar:
    """What a run has reported so far, folded from the entries as MLflow's server would fold them: one value a name, whatever the
    length of the run. Changed by one thread at a time; read by any.

    A program's client asks for its run again and again (MLflow 3's before each `log_metrics`): with this the gateway answers
    without asking the server.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        """Each metric as it was reported last, whatever its step."""
        self.points: dict[str, Point] = {}
        """Each metric at its latest step."""
        self.params: dict[str, str] = {}
        self.tags: dict[str, tuple[str | None, int]] = {}
        """Each tag with the size that `logged.jsonl` had with it; None: deleted."""
        self.run_name: str | None = None
        self._datasets: dict[tuple[str, str], dict[str, Any]] = {}
        self.models_read: dict[str, dict[str, Any]] = {}
        self.models_made: dict[str, dict[str, Any]] = {}
        """By their ids: the server takes each once for a run, whatever its step."""

    def remember(self, entry: Mapping[str, Any], end: int) -> None:
        """*end*: the size of `logged.jsonl` with this entry."""
        if "key" in entry:
            key, value = entry["key"], float(entry["value"])
            self.last[key] = value
            point = (entry["step"], entry["time"], value)
            if key not in self.points or point > self.points[key]:
                self.points[key] = point
        elif "param" in entry:
            self.params[entry["param"]] = entry["value"]
        elif "tag" in entry:
            self.tags[entry["tag"]] = (entry["value"], end)
        elif "post" in entry:
            self._remember_post(entry["post"], entry["body"], end)

    def add_datasets(self, datasets: Iterable[Any]) -> None:
        """As MLflow's API takes them; one that is logged again is the same."""
        for each in datasets:
            dataset = each.get("dataset", {})
            self._datasets[str(dataset.get("name")), str(dataset.get("digest"))] = each

    def tags_over(self, known: Mapping[str, str], size: int) -> dict[str, str]:
        """*known*, which the server had when it knew the first *size* bytes of `logged.jsonl`, and what was set since."""
        tags = dict(known)
        for key, (value, end) in list(self.tags.items()):
            if end <= size:
                continue
            if value is None:
                tags.pop(key, None)
            else:
                tags[key] = value
        return tags

    def metrics(self) -> list[dict[str, Any]]:
        """As MLflow's `RunData` has them."""
        return [
            {"key": key, "value": as_json(value), "timestamp": time_ms, "step": step}
            for key, (step, time_ms, value) in list(self.points.items())
        ]

    def inputs(self) -> dict[str, list[dict[str, Any]]]:
        """MLflow's `RunInputs`."""
        return {"dataset_inputs": list(self._datasets.values()), "model_inputs": list(self.models_read.values())}

    def outputs(self) -> dict[str, list[dict[str, Any]]]:
        """MLflow's `RunOutputs`. Its client looks there for models of a step that it logs metrics of."""
        return {"model_outputs": list(self.models_made.values())}

    def _remember_post(self, endpoint: str, body: Mapping[str, Any], end: int) -> None:
        if endpoint == "runs/delete-tag":
            self.tags[str(body.get("key"))] = (None, end)
        elif endpoint == "runs/update":
            if name := body.get("run_name"):
                self.run_name = name
                self.tags["mlflow.runName"] = (name, end)  # the server sets it with the name
        elif endpoint == "runs/log-inputs":
            self.add_datasets(_documents(body.get("datasets")))
            self.models_read |= by_id(self.models_read, body.get("models"))
        elif endpoint == "runs/outputs":
            self.models_made |= by_id(self.models_made, body.get("models"))


def as_json(value: float) -> float | str:
    """A number in strict JSON; NaN and the infinities as MLflow's REST API wants them."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def by_id(known: Mapping[str, Any], given: Any) -> dict[str, dict[str, Any]]:
    """Models of a list that came from the program, but for those that are *known*."""
    found = {str(each.get("model_id")): each for each in reversed(_documents(given))}
    return {model: found[model] for model in reversed(found) if model not in known}


def _documents(given: Any) -> list[dict[str, Any]]:
    """The objects of a list that came from the program: anything else the server will refuse."""
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
