"""The descriptors that a container's init has of its creator."""

from __future__ import annotations

import socket

from runtime.container.logs import LogFiles
from runtime.light_dataclasses import dataclass

EXIT_RECORD_BYTES = 256
"""Held free for the record, whose longest is about half of it."""


@dataclass(frozen=True, slots=True)
class InheritedFds:
    """What init keeps. All descriptors but *listener* are made by the creator."""

    container_id: str
    control: socket.socket
    adoption: socket.socket | None
    stdout_read: int
    stderr_read: int
    logs: LogFiles | None
    exit_record: int | None
    held: tuple[int, ...]
    lease: tuple[int, ...] = ()
    """Of GPUs; the container may give them back while it lives."""
    owner_notes: int | None = None
    """A build step's with one id: where the owners go that cannot be noted on a file itself."""

    def descriptors(self) -> list[int]:
        """All of them."""
        sockets = [self.control, *([self.adoption] if self.adoption is not None else [])]
        records = [fd for fd in (self.exit_record, self.owner_notes) if fd is not None]
        logs = self.logs.descriptors() if self.logs else ()
        return [*(one.fileno() for one in sockets), self.stdout_read, self.stderr_read, *self.held, *self.lease, *logs, *records]
