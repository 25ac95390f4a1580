"""Connections to the gateway that have not shown the run's token yet: few, and the oldest makes room.

With `network: host` everybody on the machine can connect. Who says nothing, or says it slowly, must not keep the program from
being heard: it shows its token with its first bytes.
"""

from __future__ import annotations

import contextlib
import socket
import threading

_MOST = 64


class Strangers:
    """Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._waiting[connection] = None
            oldest = next(iter(self._waiting)) if len(self._waiting) > _MOST else None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            # Its own thread closes it: it sees the end of the stream now.
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def remove(self, connection: socket.socket) -> None:
        """It has shown the token, or is gone."""
        with self._lock:
            self._waiting.pop(connection, None)
