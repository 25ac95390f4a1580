"""What supervisors of one run say to each other over the job step: a word a line there, a JSON object a line back."""

from __future__ import annotations

import json
import signal
from typing import Any

from launcher.run.outcome import ExitOutcome
from launcher.tracking.status import Reason

PAUSE, UNPAUSE = "pause", "unpause"
"""Said to the nodes, beside names of signals."""

BEAT_S = 5.0
"""A node says something at least as often."""

FENCE_S = 1.0
"""How often a node looks whether the run still wants it."""

SIGNALS = {
    Reason.STOPPED: signal.SIGTERM,
    Reason.INTERRUPTED: signal.SIGINT,
    Reason.PRUNED: signal.SIGUSR1,
    Reason.TIMEOUT: signal.SIGUSR2,
}
"""What lets a supervisor end its program for that reason; for any other it is SIGTERM."""


def line(node: int, kind: str, **fields: Any) -> bytes:
    """`here` name, host, at · `joined` about · `sample` sample · `beat` · `ended` outcome, at, told"""
    return json.dumps({"node": node, "kind": kind, **fields}, separators=(",", ":")).encode() + b"\n"


def outcome_document(reason: str, exit_code: int, signum: int | None, detail: str | None, *, machine: bool) -> dict[str, Any]:
    return {"reason": reason, "exit_code": exit_code, "signal": signum, "detail": detail, "of_the_machine": machine}


def outcome_from(document: dict[str, Any]) -> ExitOutcome:
    return ExitOutcome(
        document["exit_code"],
        document["signal"],
        Reason(document["reason"]),
        document["detail"],
        document["of_the_machine"],
    )
