"""How a run ended, and why: pure.

The reason comes from what the launcher did and saw, never from the exit code alone: torchrun exits 1 after a stop of
ours, and exit code -9 alone isn't the OOM killer. Reasons and their meaning: docs/guides/tracking.md, "How a run ended".
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.tracking.status import Reason
from runtime.container.spec import ProcessExit

_WORTH_A_RETRY = frozenset({Reason.PROGRAM, Reason.OOM, Reason.GPU_LOST, Reason.LAUNCHER})


@dataclass(frozen=True, slots=True)
class ExitOutcome:
    """`exit_code` is what the command exits with: the program's own code, 128 + signal, 124 timeout, 125 launcher."""

    exit_code: int
    signal: int | None
    reason: Reason
    detail: str | None = None

    @property
    def is_worth_a_retry(self) -> bool:
        """Whether `retries` applies: the program failed, and nobody asked it to end."""
        return self.reason in _WORTH_A_RETRY


def outcome_of(
    program: ProcessExit | None, *, asked: Reason | None = None, oom_kills: int = 0, memory_bytes: int | None = None
) -> ExitOutcome:
    """The outcome of a program that ended as *program* (None: nobody could say), after we *asked* it to end (or not)."""
    if program is None:
        return ExitOutcome(
            125, None, Reason.LOST, "its processes ended without a record: killed from outside, or the machine went down"
        )
    if asked is Reason.TIMEOUT:
        return ExitOutcome(124, program.signal, Reason.TIMEOUT)
    if asked is not None:
        return ExitOutcome(program.shell_code, program.signal, asked)
    if program.code == 0:
        return ExitOutcome(0, None, Reason.COMPLETED)
    if oom_kills:
        limit = f" of {_memory(memory_bytes)}" if memory_bytes else ""
        were = "was" if oom_kills == 1 else "were"
        return ExitOutcome(
            program.shell_code,
            program.signal,
            Reason.OOM,
            f"{oom_kills} of its processes {were} killed at the memory limit{limit}",
        )
    return ExitOutcome(program.shell_code, program.signal, Reason.PROGRAM)


def _memory(size_bytes: int) -> str:
    """As people write `memory`: `64 MiB`, `1.5 GiB`."""
    value = size_bytes / (1 << 20)
    return f"{value:.4g} MiB" if value < 1024 else f"{value / 1024:.4g} GiB"
