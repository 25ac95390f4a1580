"""Copy a container's output from its pipes to its log files, for whoever has nothing better to do with it."""

from __future__ import annotations

import os
import select

_CHUNK = 1 << 16


class LogPump:
    """Pipes (read ends) and the log file of each. Whoever pumps is the only reader at that time."""

    def __init__(self, logs: dict[int, int]) -> None:
        self._logs = dict(logs)

    @property
    def open_pipes(self) -> tuple[int, ...]:
        return tuple(self._logs)

    def pump(self, pipe: int) -> bool:
        """Copy what is there; the pipe must be readable. False at its end."""
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            del self._logs[pipe]
            return False
        write_all(self._logs[pipe], chunk)
        return True

    def drain(self) -> None:
        """Copy everything that is in the pipes now."""
        poller = select.poll()
        for pipe in self._logs:
            poller.register(pipe, select.POLLIN)
        while ready := poller.poll(0):
            for pipe, _event in ready:
                if not self.pump(pipe):
                    poller.unregister(pipe)


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written. A full disk must not end a training: what does not fit is dropped from the log."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError:
            return
