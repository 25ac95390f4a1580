"""What supervisors of one run say to each other over the job step: a word a line there, JSON objects back.

Slurm hands on what a node says in messages of at most 1024 bytes (`SLURM_IO_MAX_MSG_LEN`): longer lines are cut, and between two
parts comes what other nodes say. So an object is said in pieces, each a line that is short enough for one message:

    @2+{"node":2,"kind":"sample",…      more of it follows, in node 2's next line
    @2.…}                               its end
"""

from __future__ import annotations

import json
import re
import signal
from typing import Any

from launcher.journal.journal import Event
from launcher.journal.status import Reason
from launcher.run.supervisor.outcome import ExitOutcome

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


_PIECE_BYTES = 1000
_PIECE = re.compile(rb"@(\d+)([+.])(.*)", re.DOTALL)


def lines(node: int, kind: str, **fields: Any) -> bytes:
    """`here` name, host, at · `joined` about · `sample` sample · `beat` · `ended` outcome, at, told"""
    said = json.dumps({"node": node, "kind": kind, **fields}, separators=(",", ":")).encode()
    ends = range(_PIECE_BYTES, len(said) + _PIECE_BYTES, _PIECE_BYTES)
    return b"".join(b"@%d%c%s\n" % (node, b"+" if end < len(said) else b".", said[end - _PIECE_BYTES : end]) for end in ends)


class Ear:
    """Puts together what the nodes say."""

    def __init__(self) -> None:
        self._begun: dict[bytes, bytes] = {}

    def hear(self, line: bytes) -> dict[str, Any] | None:
        """The object that *line* ends, or an empty one while more of it is to come; None for a line that no node said."""
        piece = _PIECE.fullmatch(line)
        if piece is None:
            return None
        said = self._begun.pop(piece[1], b"") + piece[3]
        if piece[2] == b"+":
            self._begun[piece[1]] = said
            return {}
        try:
            return dict(json.loads(said))
        except (ValueError, TypeError):
            return None


def outcome_document(reason: str, exit_code: int, signum: int | None, detail: str | None, *, machine: bool) -> dict[str, Any]:
    return {"reason": reason, "exit_code": exit_code, "signal": signum, "detail": detail, "of_the_machine": machine}


def document_of(finished: Event) -> dict[str, Any]:
    """The outcome that stands in a node's journal."""
    return outcome_document(
        finished.fields["reason"],
        finished.fields["exit_code"],
        finished.get("signal"),
        finished.get("message"),
        machine=bool(finished.get("of_the_machine")),
    )


def outcome_from(document: dict[str, Any]) -> ExitOutcome:
    return ExitOutcome(
        document["exit_code"],
        document["signal"],
        Reason(document["reason"]),
        document["detail"],
        document["of_the_machine"],
    )
