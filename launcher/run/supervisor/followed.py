"""What following a container found out."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.journal.status import Reason
from runtime.container.spec import ProcessExit


@dataclass(slots=True)
class Followed:
    """What following found out."""

    program: ProcessExit | None
    asked: Reason | None
    """What was asked of it before it ended."""
    detail: str | None = None
    """Why it was asked for, beyond the reason's own meaning."""
    for_peers: bool = False
    """It was asked to end since the program had failed on another node."""
