"""What an ended try means for its trial."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.config.spec import ExperimentSpec
from launcher.journal.status import Reason
from launcher.sweep.policy import FailurePolicy, Past, shrink
from launcher.sweep.search.protocol import End, EndState
from launcher.sweep.trial_log import Verdict
from launcher.tracking.record.run_record import RunRecord
from runtime.state_dir import RunDir

FAILED, COMPLETE, PRUNED = (End(state) for state in (EndState.FAILED, EndState.COMPLETE, EndState.PRUNED))


@pytest.mark.parametrize(
    ("reason", "end", "past", "retries", "shrinks", "expected"),
    [
        (Reason.COMPLETED, COMPLETE, Past(), 0, False, Verdict.COMPLETE),
        (Reason.PRUNED, PRUNED, Past(), 3, False, Verdict.PRUNED),
        (Reason.PROGRAM, FAILED, Past(), 0, False, Verdict.FAILED),
        (Reason.PROGRAM, FAILED, Past(), 1, False, Verdict.AGAIN),
        (Reason.PROGRAM, FAILED, Past(failed=1), 1, False, Verdict.FAILED),
        (Reason.PROGRAM, FAILED, Past(spoiled=2), 1, False, Verdict.AGAIN),
        (Reason.COMPLETED, FAILED, Past(), 5, False, Verdict.FAILED),
        (Reason.LOST, FAILED, Past(), 0, False, Verdict.AGAIN),
        (Reason.GPU_LOST, FAILED, Past(spoiled=3), 0, False, Verdict.FAILED),
        (Reason.PREEMPTED, FAILED, Past(spoiled=3), 0, False, Verdict.AGAIN),
        (Reason.OOM, FAILED, Past(), 0, True, Verdict.AGAIN),
        (Reason.OOM, FAILED, Past(), 0, False, Verdict.FAILED),
        (Reason.OOM, FAILED, Past(shrunk=8), 0, True, Verdict.FAILED),
        (Reason.INTERRUPTED, FAILED, Past(), 5, False, Verdict.CUT_SHORT),
    ],
)
def test_verdicts(reason: Reason, end: End, past: Past, retries: int, shrinks: bool, expected: Verdict) -> None:
    record = RunRecord(RunDir(Path("/none")), "7f3a9c", reason.status, datetime.now(UTC), reason=reason.value)
    assert expected is FailurePolicy(retries=retries).verdict(record, end, past, shrinks=shrinks)


def test_the_past_is_known_from_reasons() -> None:
    assert Past(failed=1, spoiled=2, shrunk=1) == Past.of(["program", "lost", "oom", "gpu_lost"])


def test_a_preempted_try_is_none() -> None:
    assert Past(failed=1) == Past.of(["preempted", "program", *4 * ["preempted"]])


def test_a_rule_for_memory_makes_values_smaller() -> None:
    spec = ExperimentSpec("x", params={"batch_size": 5, "opt": {"rate": 1.0}, "name": "a"})
    rule = {"params": {"batch_size": "/ 2", "opt": {"rate": "*.5"}, "name": "/2", "none": "/ 2"}}
    assert ("params.batch_size=2", "params.opt.rate=0.5") == shrink(rule, spec)
    assert () == shrink({"params": {"batch_size": "/ 2"}}, ExperimentSpec("x", params={"batch_size": 1}))
