"""The files in which a run's metrics are found, as they grow: the tracker looks at all of them again and again.

    metrics.jsonl              JSON lines that the program appends ($LAUNCH_METRICS)              `metrics.file`
    stdout.log, stderr.log     lines of output that a pattern fits (`output_patterns.py`)          `metrics.patterns`
    events.out.tfevents.*      TensorBoard's, in the outputs and the working directory             `metrics.tensorboard`
                               (`event_files.py`)

What is found goes to `MetricLog`, with where it was found, so that nothing is missed or taken twice when a tracker is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from launcher.tracking.metrics.growing_lines import GrowingLines
from launcher.tracking.metrics.metric_log import METRICS, STEP_MAX, TIME_END_S, MetricLog, Sighting
from runtime.state_dir import RunDir


class MetricFile(Protocol):
    """Something that metrics are found in."""

    def follow(self, *, to_the_end: bool = False) -> None:
        """Take over what is new; *to_the_end*: nothing will be added any more. Raises LaunchError when the disk is full."""


def metric_files(run_dir: RunDir, log: MetricLog) -> tuple[MetricFile, ...]:
    """What `metrics` in the run's configuration asks for. A run without a plan has the metrics file only."""
    asked, workdir = _asked(run_dir)
    files: list[MetricFile] = [GrowingLines(run_dir.metrics, METRICS, log, _metrics_of_line)]
    if asked.get("patterns"):
        from launcher.tracking.record.output_patterns import OutputPatterns

        found = OutputPatterns(asked["patterns"])
        files += [
            GrowingLines(path, path.name, log, found.in_line, line_ends=b"\n\r") for path in (run_dir.stdout, run_dir.stderr)
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


def _metrics_of_line(line: bytes) -> Iterator[Sighting]:
    """The numbers of a JSON object. Raises ValueError for a line that is none."""
    if not line.strip():
        return
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    at, step = values.pop("time", None), values.pop("step", None)
    at_ms = int(at * 1000) if _is_number(at) and 0 <= at < TIME_END_S else None
    known_step = int(step) if _is_number(step) and abs(step) <= STEP_MAX else None
    # Before anything is counted: a number that is too large for a float spoils the line.
    numbers = {key: float(value) for key, value in values.items() if _is_number(value)}
    for key, value in numbers.items():
        yield Sighting(key, value, known_step, at_ms)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
