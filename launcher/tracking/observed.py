"""`logged.jsonl`: everything that a run reported, in order, each with the time at which it was seen.

    {"key": "loss", "value": 0.2, "step": 3, "time": 1795523995123, "from": 181}    a metric; `from`: see below
    {"param": "depth", "value": "3"}    {"tag": "note", "value": "x"}                sent by the program through the gateway
    {"post": "runs/log-inputs", "body": {...}}                                      kept for MLflow as it came

Two sources end here: the metrics file that programs append to, and the MLflow gateway. MLflow stores an identical point once,
so sending it twice is harmless, but only if its time is the same: hence the times are written down before anything is sent.
`from` is the offset in metrics.jsonl behind the point's line, so that a new tracker goes on where a killed one stopped.
"""

from __future__ import annotations

import io
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from runtime.state_dir import RunDir

_LINE_MAX = 1 << 20
_SLICE = 4 << 20

# What MLflow's database can hold. A step or a time beyond is one that the program did not mean.
_STEP_MAX = 2**53
_TIME_END_S = 253402300800  # the year 10000


class Observed:
    """The writer of `logged.jsonl`; one a run. Safe to use from several threads."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._offset = 0
        self._reports: dict[str, int] = {}
        self._changed = False
        self.last: dict[str, float] = {}
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.notes: list[str] = []
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(run_dir.logged, flags, 0o600)
        _cut_torn_line(self._file)
        for entry in read_entries(run_dir.logged):
            self._remember(entry)

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write *entries* down. Returns when they are in the file. Raises LaunchError when the disk doesn't take them."""
        if not entries:
            return
        lines = b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)
        with self._lock:
            try:
                _write_whole(self._file, lines)
            except OSError as error:
                raise LaunchError(f"cannot write to `{self._run_dir.logged}`: {error.strerror}") from error
            for entry in entries:
                self._remember(entry)

    def follow_metrics_file(self, *, to_the_end: bool = False) -> None:
        """Take over the lines that the program has completed since the last call; at the end also one without a newline."""
        while content := _read_at(self._run_dir.metrics, self._start()):
            before = self._offset
            self._take_over(content, to_the_end=to_the_end and len(content) < _SLICE)
            if self._offset == before:
                return

    def write_last_metrics(self) -> None:
        """`last_metrics.json`, when a value has changed."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            document = json.dumps(self.last)
        partial = self._run_dir.last_metrics.with_name(".last_metrics.json")
        partial.write_text(document)
        partial.rename(self._run_dir.last_metrics)

    def _start(self) -> int:
        try:
            size = self._run_dir.metrics.stat().st_size
        except FileNotFoundError:
            return self._offset
        if size < self._offset:
            self._note("metrics.jsonl was truncated by the program; it is read again from its beginning")
            self._offset = 0
        return self._offset

    def _take_over(self, content: bytes, *, to_the_end: bool) -> None:
        entries: list[dict[str, Any]] = []
        ahead: dict[str, int] = {}
        offset = self._offset
        now_ms = int(time.time() * 1000)
        for line in io.BytesIO(content):  # splits at newlines only, not at the \r that bytes.splitlines takes for one
            if not line.endswith(b"\n") and not to_the_end and len(line) < _LINE_MAX:
                break
            offset += len(line)
            try:
                entries += [{**point, "from": offset} for point in self._points(line, now_ms, ahead)]
            except (ValueError, OverflowError, RecursionError) as error:
                if line.strip():
                    self._note(f"metrics.jsonl has a line that is no JSON object: {line[:80]!r} ({error})")
        self.add(entries)
        self._offset = offset

    def _points(self, line: bytes, now_ms: int, ahead: dict[str, int]) -> Iterator[dict[str, Any]]:
        """The metrics of one line. *ahead* counts the reports of each metric that are not written down yet."""
        values = json.loads(line)
        if not isinstance(values, dict):
            raise ValueError("not an object")
        at = values.pop("time", None)
        step = values.pop("step", None)
        at_ms = int(at * 1000) if _is_number(at) and 0 <= at < _TIME_END_S else now_ms
        known_step = int(step) if _is_number(step) and abs(step) <= _STEP_MAX else None
        # Before anything is counted: a number that is too large for a float spoils the line.
        numbers = {key: float(value) for key, value in values.items() if _is_number(value)}
        for key, value in numbers.items():
            # A report without a step is the next one of its metric.
            number = self._reports.get(key, 0) + ahead.get(key, 0)
            ahead[key] = ahead.get(key, 0) + 1
            yield metric(key, value, step=number if known_step is None else known_step, time_ms=at_ms)

    def _remember(self, entry: Mapping[str, Any]) -> None:
        if "key" in entry:
            key = entry["key"]
            self.last[key] = float(entry["value"])
            self._reports[key] = self._reports.get(key, 0) + 1
            self._offset = max(self._offset, entry.get("from", 0))
            self._changed = True
        elif "param" in entry:
            self.params[entry["param"]] = entry["value"]
        elif "tag" in entry:
            self.tags[entry["tag"]] = entry["value"]

    def _note(self, text: str) -> None:
        """Once for each run: the first bad line, not the ten thousandth."""
        if not self.notes:
            self.notes.append(text)


def metric(key: str, value: float, *, step: int, time_ms: int) -> dict[str, Any]:
    """A metric as an entry; NaN and the infinities as MLflow's REST API wants them, which is strict JSON too."""
    return {"key": key, "value": value if math.isfinite(value) else _name_of(value), "step": step, "time": time_ms}


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
    content = _read_at(path, offset, 256 << 10)
    end = content.rfind(b"\n") + 1
    if not end and len(content) == 256 << 10:
        content = _read_at(path, offset, 64 << 20)
        end = content.rfind(b"\n") + 1
    entries = []
    for line in content[:end].splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries, offset + end


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_at(path: Path, offset: int, longest: int = _SLICE) -> bytes:
    # The program writes this file. It can't put a link in its place (the file is bound into the container): asked all the same.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, longest, offset)
    finally:
        os.close(descriptor)


def _cut_torn_line(descriptor: int) -> None:
    """Take away what a tracker wrote of a line when it was killed: nothing of it was acknowledged, and a metric is read again."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - _LINE_MAX)
    whole = begin + os.pread(descriptor, size - begin, begin).rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(descriptor, whole)


def _write_whole(descriptor: int, lines: bytes) -> None:
    while lines:
        lines = lines[os.write(descriptor, lines) :]
