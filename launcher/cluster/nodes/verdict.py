"""One outcome for a run that ended on several nodes. Pure.

Who failed first is to blame: the others were asked to end because of that, or lost their connections to it a moment later.
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.journal.status import Reason
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.light_dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """How an attempt ended on one node."""

    name: str
    """``node 1 (`gpu07`)``"""
    outcome: ExitOutcome
    at: float
    """Unix seconds, by the first node's clock."""
    was_asked: bool
    """It had been asked to end before."""

    @property
    def has_failed(self) -> bool:
        return not self.was_asked and self.outcome.reason is not Reason.COMPLETED


@dataclass(frozen=True, slots=True)
class EndRequest:
    """The end of the whole run was asked for: a stop, a time limit, a lost GPU of the first node."""

    reason: Reason
    at: float


def verdict(ends: Sequence[NodeEnd], request: EndRequest | None) -> ExitOutcome:
    """The outcome of the run that ended as *ends* on its nodes, the first node's first."""
    failures = sorted((end for end in ends if end.has_failed), key=lambda end: end.at)
    if failures and (request is None or failures[0].at <= request.at):
        return _blame(failures[0])
    if request is not None:
        # Where the first node's program was through before, another one's was not.
        return next((end.outcome for end in ends if end.outcome.reason is request.reason), ends[0].outcome)
    # Nobody asked here: somebody ended one of the others by a signal.
    signalled = next((end for end in ends[1:] if end.was_asked), None)
    return ends[0].outcome if signalled is None else _blame(signalled)


def _blame(end: NodeEnd) -> ExitOutcome:
    return replace(end.outcome, detail=describe_end(end.name, end.outcome))


def describe_end(name: str, outcome: ExitOutcome) -> str:
    """``node 1 (`gpu07`): its program ended with exit code 3``"""
    if outcome.detail:
        return f"{name}: {outcome.detail}"
    if outcome.reason is Reason.PROGRAM:
        how = f"was ended by signal {outcome.signal}" if outcome.signal else f"ended with exit code {outcome.exit_code}"
        return f"{name}: its program {how}"
    return f"{name}: {'it was told to end' if outcome.reason is Reason.STOPPED else outcome.reason}"
