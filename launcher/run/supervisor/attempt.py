"""One attempt of a run: what may be asked of it, what following it found out, and how it ended."""

from __future__ import annotations

from launcher.errors import LaunchError
from launcher.journal.status import Reason
from launcher.run.supervisor.outcome import ExitOutcome, outcome_of
from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import kills_on_this_machine
from runtime.container.spec import ProcessExit
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import dataclass


class CancelledInQueue(Exception):
    """The run was asked to end before it began: while it waited for GPUs, or its image was copied."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StopRequest:
    """What something that watches a run asks of its supervisor: the run is to end."""

    reason: Reason
    detail: str


@dataclass(slots=True)
class AttemptResult:
    """What following a container found out."""

    program: ProcessExit | None
    asked: Reason | None
    """What was asked of it before it ended."""
    detail: str | None = None
    """Why it was asked for, beyond the reason's own meaning."""
    for_peers: bool = False
    """It was asked to end since the program had failed on another node."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended and what it used."""

    outcome: ExitOutcome
    usage: Usage


def end_of(result: AttemptResult, cgroup: Cgroup, *, kills_before: int | None = None) -> Attempt:
    """Call it before the cgroup is removed. *kills_before*: `kills_on_this_machine` from before the start."""
    usage = _with_what_init_saw(cgroup.usage(), result.program)
    elsewhere = 0
    if "memory" not in cgroup.controllers and kills_before is not None:
        elsewhere = (kills_on_this_machine() or 0) - kills_before
    outcome = outcome_of(
        result.program,
        asked=result.asked,
        why=result.detail,
        oom=cgroup.oom_kills(),
        peak_bytes=usage.peak_memory_bytes,
        kills_elsewhere=elsewhere,
    )
    return Attempt(outcome, usage)


def not_run(error: LaunchError | RuntimeFailure) -> Attempt:
    """A failure of ours, or of the machine before the program began, is an outcome too: its words stand in the record."""
    detail = error.message + (f" (hint: {error.hint})" if error.hint else "")
    return Attempt(ExitOutcome(125, None, Reason.LAUNCHER, detail), Usage())


def _with_what_init_saw(usage: Usage, program: ProcessExit | None) -> Usage:
    """An ordinary user on cgroup version 1 has no other numbers than those that a parent gets of its children (wait4(2))."""
    if program is None:
        return usage
    cpu_s = program.cpu_s if usage.cpu_s is None else usage.cpu_s
    return usage._replace(cpu_s=cpu_s, peak_process_bytes=program.peak_process_bytes)
