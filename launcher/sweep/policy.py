"""What an ended try means: is its trial decided, tried again, and does the sweep go on. Pure.

A try that the machine spoiled (its supervisor was lost, its GPU fell off the bus) is not the trial's fault: it is repeated and
doesn't count against `sweep.retries`, but not for ever, since a trial may spoil its machine. One whose place the cluster gave to
somebody else says nothing of the trial, however often it happens. One that ran out of memory is repeated with what `sweep.on_oom`
makes of its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.config.spec import ExperimentSpec, Sweep, to_json
from launcher.journal.status import Reason, RunStatus
from launcher.sweep.search.protocol import End
from launcher.sweep.trial_log import Verdict
from launcher.tracking.record.run_record import RunRecord
from runtime.light_dataclasses import dataclass

NOT_ITS_FAULT = frozenset({Reason.LOST, Reason.LAUNCHER, Reason.GPU_LOST})
CUT_SHORT = frozenset({Reason.STOPPED, Reason.INTERRUPTED})

MOST_SPOILED = 3
"""Tries of one trial that the machine may spoil before it counts as failed."""
MOST_SHRUNK = 8
"""Tries of one trial with less and less, by `sweep.on_oom`."""


@dataclass(frozen=True, slots=True)
class Past:
    """The earlier tries of a trial."""

    failed: int = 0
    spoiled: int = 0
    shrunk: int = 0

    @classmethod
    def of(cls, reasons: Sequence[str | None]) -> Past:
        """From the reasons for which earlier tries ended and were repeated."""
        spoiled = sum(reason in NOT_ITS_FAULT for reason in reasons)
        shrunk = sum(reason == Reason.OOM for reason in reasons)
        preempted = sum(reason == Reason.PREEMPTED for reason in reasons)
        return cls(len(reasons) - spoiled - shrunk - preempted, spoiled, shrunk)


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """`sweep.on_failure`, `sweep.max_failures`, `sweep.retries`."""

    stop_at_first: bool = False
    max_failures: int | None = None
    retries: int = 0

    @classmethod
    def of(cls, sweep: Sweep) -> FailurePolicy:
        return cls(sweep.on_failure == "stop", sweep.max_failures, sweep.retries)

    @property
    def has_an_end(self) -> bool:
        """Whether failures may end the sweep."""
        return self.stop_at_first or self.max_failures is not None

    def ends_after(self, failures: int) -> bool:
        """Whether no more trials are started after so many failures."""
        return self.stop_at_first or (self.max_failures is not None and failures >= self.max_failures)

    def verdict(self, record: RunRecord, end: End, past: Past, *, shrinks: bool) -> Verdict:
        """What the try of *record* means for its trial. *shrinks*: `on_oom` has something smaller to offer."""
        reason = record.reason
        if reason in CUT_SHORT:
            return Verdict.CUT_SHORT
        if reason == Reason.PREEMPTED:
            return Verdict.AGAIN
        if reason in NOT_ITS_FAULT and past.spoiled < MOST_SPOILED:
            return Verdict.AGAIN
        if reason == Reason.OOM and shrinks and past.shrunk < MOST_SHRUNK:
            return Verdict.AGAIN
        if record.status is RunStatus.FAILED and past.failed < self.retries:
            return Verdict.AGAIN
        return Verdict(end.state)


def shrink(rule: Mapping[str, Any], spec: ExperimentSpec) -> tuple[str, ...]:
    """The overrides that *rule* (`sweep.on_oom`) makes of the values of *spec*: `{params: {batch_size: "/ 2"}}` halves one.
    Whole numbers stay whole and at 1 or above. Empty when nothing becomes another value: there is nothing smaller to try."""
    document = to_json(spec)
    found = []
    for path, change in _leaves(rule):
        value = _at(document, path)
        smaller = _apply_change(value, change)
        if smaller != value:
            found.append(f"{'.'.join(path)}={smaller!r}")
    return tuple(found)


CHANGE = re.compile(r"\s*([*/])\s*(\d+(?:\.\d+)?|\.\d+)\s*")


def _apply_change(value: Any, change: str) -> Any:
    match = CHANGE.fullmatch(change)
    if match is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    factor = float(match[2]) if match[1] == "*" else 1 / float(match[2])
    return max(1, int(value * factor)) if isinstance(value, int) else value * factor


def _leaves(rule: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, value in rule.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*prefix, str(name)))
        else:
            yield (*prefix, str(name)), str(value)


def _at(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
