"""How a run stands, in MLflow's words, and why it ended, in ours (docs/guides/tracking.md, "How a run ended").

MLflow knows SCHEDULED, RUNNING, FINISHED, FAILED, KILLED; the finer reason goes beside it as a tag.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto


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

    @classmethod
    def named(cls, word: str) -> Reason:
        """That of a newer launch, which we don't know, is a failure of some kind."""
        return cls(word) if word in cls.__members__.values() else cls.LAUNCHER

    @property
    def status(self) -> RunStatus:
        if self is Reason.COMPLETED:
            return RunStatus.FINISHED
        if self in _KILLED:
            return RunStatus.KILLED
        return RunStatus.FAILED


_KILLED = frozenset({Reason.STOPPED, Reason.INTERRUPTED, Reason.PREEMPTED, Reason.PRUNED, Reason.LOST})


INTERRUPTED_CODE = 130
"""The exit code of what was ended by Ctrl-C: 128 + SIGINT, as a shell has it."""


class Stage(Enum):
    """How far a run is, for who counts what it holds of the machine."""

    STARTING = auto()
    """It is about to take what it needs."""
    QUEUED = auto()
    """It stands in the queue for GPUs."""
    HOLDING = auto()
    ENDED = auto()
    """Its container and its lease are gone; what is left is to send its record to MLflow."""
