"""What supervisors of one run send each other over the job step: a word a line there, JSON objects back.

Slurm hands on what a node prints in messages of at most 1024 bytes (`SLURM_IO_MAX_MSG_LEN`): longer lines are cut, and between
two parts comes what other nodes print. So an object is sent in pieces, each a line that is short enough for one message:

    @2+{"node":2,"kind":"sample",…      more of it follows, in node 2's next line
    @2.…}                               its end
"""

from __future__ import annotations

import json
import re
import signal
from enum import StrEnum
from typing import Any

from launcher.journal.events import Finished
from launcher.journal.status import Reason
from launcher.run.supervisor.outcome import ExitOutcome
from runtime.light_dataclasses import asdict

PAUSE, UNPAUSE = "pause", "unpause"
"""Sent to the nodes, beside names of signals."""

BEAT_S = 5.0
"""A node sends something at least as often."""

FENCE_S = 1.0
"""How often a node looks whether the run still wants it."""

SIGNALS = {
    Reason.STOPPED: signal.SIGTERM,
    Reason.INTERRUPTED: signal.SIGINT,
    Reason.PRUNED: signal.SIGUSR1,
    Reason.TIMEOUT: signal.SIGUSR2,
}
"""What lets a supervisor end its program for that reason; for any other it is SIGTERM."""


class Kind(StrEnum):
    """Of a node's messages, each with its fields."""

    HERE = "here"
    """name, host, at (Unix seconds)."""
    JOINED = "joined"
    """about: facts of the machine."""
    SAMPLE = "sample"
    """sample: of its use."""
    BEAT = "beat"
    ENDED = "ended"
    """outcome, at, was_asked."""


_PIECE_BYTES = 1000
_PIECE = re.compile(rb"@(\d+)([+.])(.*)", re.DOTALL)


def encode(node: int, kind: Kind, **fields: Any) -> bytes:
    """The lines of one message."""
    text = json.dumps({"node": node, "kind": kind, **fields}, separators=(",", ":")).encode()
    ends = range(_PIECE_BYTES, len(text) + _PIECE_BYTES, _PIECE_BYTES)
    return b"".join(b"@%d%c%s\n" % (node, b"+" if end < len(text) else b".", text[end - _PIECE_BYTES : end]) for end in ends)


class MessageReader:
    """Puts together what the nodes send."""

    def __init__(self) -> None:
        self._begun: dict[bytes, bytes] = {}

    def feed(self, line: bytes) -> dict[str, Any] | None:
        """The message that *line* ends, or an empty one while more of it is to come; None for a line that no node sent."""
        piece = _PIECE.fullmatch(line)
        if piece is None:
            return None
        text = self._begun.pop(piece[1], b"") + piece[3]
        if piece[2] == b"+":
            self._begun[piece[1]] = text
            return {}
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError):
            return None


def to_document(outcome: ExitOutcome) -> dict[str, Any]:
    return asdict(outcome)


def from_document(document: dict[str, Any]) -> ExitOutcome:
    return ExitOutcome(**{**document, "reason": Reason(document["reason"])})


def outcome_in(finished: Finished) -> ExitOutcome:
    """The outcome that stands in a node's journal."""
    reason = Reason.named(finished.reason)
    return ExitOutcome(finished.exit_code, finished.signal, reason, finished.message, finished.of_the_machine)
