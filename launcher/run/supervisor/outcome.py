"""How a run ended, and why: pure.

The reason comes from what the launcher did and saw, never from the exit code alone: torchrun exits 1 after a stop of
ours, and exit code -9 alone isn't the OOM killer. Reasons and their meaning: docs/guides/tracking.md, "How a run ended".
"""

from __future__ import annotations

import signal
from collections.abc import Collection

from launcher.journal.status import INTERRUPTED_CODE, Reason
from runtime.cgroup.oom import OomKills, memory_words
from runtime.container.spec import ProcessExit
from runtime.light_dataclasses import dataclass

_LOST = "nobody recorded how its program ended: its container was killed from outside, or the machine went down"

_OF_THE_MACHINE = frozenset({Reason.GPU_LOST, Reason.PREEMPTED, Reason.LAUNCHER})
"""What the next attempt may well be spared. Not LOST: then nobody was there, and nobody waits for an attempt that begins hours
later because somebody typed `launch ps`; that is what `launch resume` is for."""


@dataclass(frozen=True, slots=True)
class ExitOutcome:
    """`exit_code` is what the command exits with: the program's own code, 128 + signal, 124 timeout, 125 launcher, 130 Ctrl-C."""

    exit_code: int
    signal: int | None
    reason: Reason
    detail: str | None = None
    of_the_machine: bool = False
    """The program was hit by what befell the whole machine."""

    def is_worth_a_retry(self, asked: Collection[str] = ()) -> bool:
        """Whether `retries` applies: the machine failed and not the program, or the reason is one of *asked* (`retry_on`)."""
        return self.of_the_machine or self.reason in _OF_THE_MACHINE or self.reason in asked


def outcome_of(
    program: ProcessExit | None,
    *,
    asked: Reason | None = None,
    why: str | None = None,
    oom: OomKills | None = None,
    peak_bytes: int | None = None,
    kills_elsewhere: int = 0,
) -> ExitOutcome:
    """The outcome of a program that ended as *program* (None: nobody could say), after we *asked* it to end (or not) and *why*.

    *kills_elsewhere*: how many processes of this machine the kernel killed for want of memory meanwhile, where the run has no
    cgroup that counts its own.
    """
    if program is None and (oom or asked):
        program = ProcessExit(None, signal.SIGKILL)  # init was among those that the kernel killed, or that we did
    if program is None:
        return ExitOutcome(125, None, Reason.LOST, _LOST)
    if asked is Reason.TIMEOUT:
        return ExitOutcome(124, program.signal, Reason.TIMEOUT)
    if asked is Reason.GPU_LOST:
        # However well the program ended itself: it did not do its work, and the machine is to blame.
        return ExitOutcome(125, program.signal, Reason.GPU_LOST, why)
    if asked is Reason.INTERRUPTED:
        return ExitOutcome(_interrupted_code(program), program.signal, asked, why)
    if asked is not None:
        return ExitOutcome(program.shell_code, program.signal, asked, why)
    if program.code == 0:
        return ExitOutcome(0, None, Reason.COMPLETED, f"{_with_peak(oom, peak_bytes)}; the program went on" if oom else None)
    if oom:
        peak = _with_peak(oom, peak_bytes)
        return ExitOutcome(program.shell_code, program.signal, Reason.OOM, peak, of_the_machine=not oom.own)
    detail = None
    if program.signal == signal.SIGKILL and kills_elsewhere:
        detail = (
            f"somebody killed it; the kernel killed {_processes(kills_elsewhere)} of this machine for want of memory meanwhile, "
            "and without a cgroup nobody can say whether it was one of them"
        )
    return ExitOutcome(program.shell_code, program.signal, Reason.PROGRAM, detail)


def _interrupted_code(program: ProcessExit) -> int:
    """130, as a shell has it, however well the program ended: `launch … && next` goes no further after Ctrl-C. What the program
    has to say itself about its end, with a code of its own, stands."""
    code = program.code or 0
    return code if 0 < code < 128 else INTERRUPTED_CODE


def _with_peak(oom: OomKills, peak_bytes: int | None) -> str:
    return f"{oom.words}; the peak of all was {memory_words(peak_bytes)}" if peak_bytes else oom.words


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"
