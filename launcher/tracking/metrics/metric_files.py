"""The files in which a run's metrics are found, as they grow: the tracker looks at all of them again and again.

    metrics.jsonl              JSON lines that the program appends ($LAUNCH_METRICS)              `metrics.file`
    stdout.log, stderr.log     lines of output that a pattern fits                                `metrics.patterns`
    events.out.tfevents.*      TensorBoard's, in the outputs and the working directory             `metrics.tensorboard`
                               (`event_files.py`)

What is found goes to `MetricLog`, with where it was found, so that nothing is missed or taken twice when a tracker is killed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from launcher.config.metric_pattern import value_group
from launcher.errors import LaunchError
from launcher.journal.growing_file import GrowingFile
from launcher.tracking.metrics.metric_log import METRICS, STEP_MAX, TIME_END_S, FoundMetric, MetricLog
from runtime.state_dir import RunDir

_LINE_MAX = 1 << 20


class MetricFile(Protocol):
    """Something that metrics are found in."""

    def follow(self, *, to_the_end: bool = False) -> None:
        """Take over what is new; *to_the_end*: nothing will be added any more. Raises LaunchError when the disk is full."""


def metric_files(run_dir: RunDir, log: MetricLog) -> tuple[MetricFile, ...]:
    """What `metrics` in the run's configuration asks for. A run without a plan has the metrics file only."""
    asked, workdir = _asked(run_dir)
    files: list[MetricFile] = [_Lines(run_dir.metrics, METRICS, log, metrics_of_line)]
    if asked.get("patterns"):
        found = OutputPatterns(asked["patterns"])
        files += [
            # A progress bar ends its lines with a carriage return.
            _Lines(path, path.name, log, found.in_line, also_ends=b"\r")
            for path in (run_dir.stdout, run_dir.stderr)
        ]
    if asked.get("tensorboard"):
        from launcher.tracking.metrics.event_files import EventFiles

        files.append(EventFiles(run_dir, log, workdir=workdir))
    return tuple(files)


def _asked(run_dir: RunDir) -> tuple[dict[str, Any], str]:
    """The configuration's `metrics`, and the program's working directory."""
    try:
        plan = json.loads(run_dir.plan.read_bytes())["plan"]
    except FileNotFoundError:
        return {}, "/"
    return plan["spec"].get("metrics") or {}, (plan["build"].get("config") or {}).get("workdir") or "/"


def metrics_of_line(line: bytes) -> Iterator[FoundMetric]:
    """The numbers of a JSON object. Raises ValueError for a line that is none, and behind the others for what is too large."""
    if not line.strip():
        return
    try:
        values = json.loads(line)
    except ValueError:
        # Python reads no number of more than 4,300 digits.
        values = json.loads(line, parse_int=_integer)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    at, step = values.pop("time", None), values.pop("step", None)
    at_ms = int(at * 1000) if _is_number(at) and 0 <= at < TIME_END_S else None
    known_step = int(step) if _is_number(step) and abs(step) <= STEP_MAX else None
    too_large = []
    for key, value in values.items():
        if not _is_number(value):
            continue
        try:
            yield FoundMetric(key, float(value), known_step, at_ms)
        except OverflowError:
            too_large.append(key)
    if too_large:
        raise ValueError(f"`{too_large[0]}` is too large a number; the others of the line are taken")


_BEYOND_FLOATS = 10**400


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        return _BEYOND_FLOATS


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Lines:
    """A file that a program appends lines to. *metrics_of* finds the metrics of one; its ValueError is a note of the run."""

    def __init__(
        self,
        path: Path,
        source: str,
        log: MetricLog,
        metrics_of: Callable[[bytes], Iterable[FoundMetric]],
        *,
        also_ends: bytes = b"",
    ) -> None:
        self._source = source
        self._log = log
        self._metrics_of = metrics_of
        offset = log.offsets.get(source, 0)
        self._file = GrowingFile(path, offset, slice_bytes=_LINE_MAX, longest_bytes=_LINE_MAX, also_ends=also_ends)

    def follow(self, *, to_the_end: bool = False) -> None:
        # Opened only when there is something: on a shared file system an open is a question to its server, ten times a second.
        if not self._has_grown():
            return
        offset = self._file.offset
        for lines in self._file.slices(to_the_end=to_the_end):
            begin = offset
            seen: list[tuple[FoundMetric, int]] = []
            for line in lines:
                offset = min(offset + len(line) + 1, self._file.offset)
                try:
                    for found in self._metrics_of(line):
                        seen.append((found, offset))
                except (ValueError, OverflowError, RecursionError) as error:
                    self._log.note(f"{self._source} has a line that cannot be read: {line[:80]!r} ({error})")
            try:
                self._log.add_found(seen, source=self._source)
            except LaunchError:
                self._file.offset = begin  # a full disk: the next look may find room
                raise

    def _has_grown(self) -> bool:
        try:
            size = self._file.path.stat().st_size
        except FileNotFoundError:
            return False
        if size < self._file.offset:
            self._log.note(f"{self._source} was truncated by the program; it is read again from its beginning")
            self._file.offset = 0
        return size > self._file.offset


# A pattern is somebody's own, and may take very long on a very long line.
_MATCHED_MAX = 16 << 10

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
"""Of text for terminals (ECMA-48, SGR): nothing that a reader sees, and so nothing that a pattern has to name."""


class OutputPatterns:
    """Metrics in what a program prints: `metrics.patterns: {loss: 'loss=([0-9.]+)'}`. Compiled once a run.

    The first place of a line that a pattern fits counts. Which groups a pattern may have is `config/metric_pattern.py`; without a
    step a report is the next one of its metric.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        compiled = {key: re.compile(pattern) for key, pattern in patterns.items()}
        self._patterns = [(key, pattern, value_group(pattern)) for key, pattern in compiled.items()]

    def in_line(self, line: bytes) -> Iterator[FoundMetric]:
        """The metrics that *line* holds. Raises ValueError for a match that is no number."""
        text = line[:_MATCHED_MAX].decode(errors="replace")
        plain = _COLOURS.sub("", text) if "\x1b" in text else text
        for key, pattern, group in self._patterns:
            found = pattern.search(plain)
            if found is None and plain is not text:
                found = pattern.search(text)  # a pattern may name colours
            if found is not None and found[group] is not None:
                yield FoundMetric(key, _number(key, found[group]), _step(found.groupdict().get("step")))


def _number(key: str, text: str) -> float:
    try:
        return float(text.rstrip("."))  # the end of a sentence is no part of a number, though `[0-9.]+` fits it
    except ValueError:
        raise ValueError(f"`{text}` is no number for `{key}`") from None


def _step(text: str | None) -> int | None:
    if text is None:
        return None
    step = int(text)
    return step if abs(step) <= STEP_MAX else None
