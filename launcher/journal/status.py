"""How a run stands, in MLflow's words, and why it ended, in ours (docs/guides/tracking.md, "How a run ended").

MLflow knows SCHEDULED, RUNNING, FINISHED, FAILED, KILLED; the finer reason goes beside it as a tag.
"""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Names and values: MLflow's RunStatus."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        return self in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


class Reason(StrEnum):
    """Why a run ended: from what the launcher saw and did, never guessed from the exit code alone."""

    COMPLETED = "completed"
    PROGRAM = "program"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    OOM = "oom"
    PRUNED = "pruned"
    PREEMPTED = "preempted"
    GPU_LOST = "gpu_lost"
    LOST = "lost"
    LAUNCHER = "launcher"

    @property
    def status(self) -> RunStatus:
        if self is Reason.COMPLETED:
            return RunStatus.FINISHED
        if self in _KILLED:
            return RunStatus.KILLED
        return RunStatus.FAILED


_KILLED = frozenset({Reason.STOPPED, Reason.INTERRUPTED, Reason.PREEMPTED, Reason.PRUNED, Reason.LOST})
