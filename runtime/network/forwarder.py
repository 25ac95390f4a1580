"""Carry TCP connections from the host's listeners into a container: an event loop that reads, writes and waits for nobody.

A connection is made to 127.0.0.1 inside first, so that what listens on loopback only (TensorBoard, Jupyter) is reached too.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence

_CHUNK = 1 << 18
_MOST_HELD = 1 << 20
_SO_LINGER = struct.pack("ii", 1, 0)
_UNTIL_A_DESCRIPTOR_IS_FREE_S = 0.1


def _start_connection(address: str, port: int) -> socket.socket:
    """A non-blocking socket of this thread's network namespace that is connecting."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    code = made.connect_ex((address, port))
    if code not in (0, errno.EINPROGRESS):
        made.close()
        raise OSError(code, "connect")
    return made


class Forwarder:
    """Listeners on the host's side and their connections. `step` must be called with whatever the selector says."""

    def __init__(self, selector: selectors.BaseSelector, targets: Sequence[str]) -> None:
        self._selector = selector
        self._targets = tuple(targets)
        """Addresses inside, tried in this order."""

    def add(self, listener: socket.socket, port: int) -> None:
        """Carry what comes to *listener* to *port* inside."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda _: self._accept(listener, port))

    def _accept(self, listener: socket.socket, port: int) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                raise
            time.sleep(_UNTIL_A_DESCRIPTOR_IS_FREE_S)  # it stays in the queue meanwhile
            return
        client.setblocking(False)
        self._open(client, port, self._targets)

    def _open(self, client: socket.socket, port: int, targets: Sequence[str]) -> None:
        """Connect *client* to the first of *targets* that answers."""
        for position, target in enumerate(targets):
            try:
                server = _start_connection(target, port)
            except OSError:
                continue
            later = targets[position + 1 :]

            def on_connected(_: int, server: socket.socket = server, later: Sequence[str] = later) -> None:
                self._selector.unregister(server)
                if server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    _Relay(self._selector, client, server)
                else:
                    server.close()
                    self._open(client, port, later)

            self._selector.register(server, selectors.EVENT_WRITE, on_connected)
            return
        # Nobody listens there (yet): reset, as the kernel would.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SO_LINGER)
        client.close()


class _Relay:
    """Two connected sockets and what each still has to be sent."""

    def __init__(self, selector: selectors.BaseSelector, client: socket.socket, server: socket.socket) -> None:
        self._selector = selector
        self._peer = {client: server, server: client}
        self._held = {client: bytearray(), server: bytearray()}
        """What is still to be sent to each."""
        self._ended = {client: False, server: False}
        """Which of them will send no more."""
        self._events = {client: 0, server: 0}
        for one in self._peer:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def _watch(self) -> None:
        for one, peer in self._peer.items():
            events = 0
            if not self._ended[one] and len(self._held[peer]) < _MOST_HELD:
                events |= selectors.EVENT_READ
            if self._held[one]:
                events |= selectors.EVENT_WRITE
            if events == self._events[one]:
                continue
            if self._events[one] == 0:
                self._selector.register(one, events, self._ready(one))
            elif events == 0:
                self._selector.unregister(one)
            else:
                self._selector.modify(one, events, self._ready(one))
            self._events[one] = events

    def _ready(self, one: socket.socket) -> Callable[[int], None]:
        def ready(events: int) -> None:
            try:
                if events & selectors.EVENT_WRITE:
                    self._send(one)
                if events & selectors.EVENT_READ:
                    self._read(one)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._close()
                return
            if all(self._ended.values()) and not any(self._held.values()):
                self._close()
            else:
                self._watch()

        return ready

    def _read(self, one: socket.socket) -> None:
        peer = self._peer[one]
        chunk = one.recv(_CHUNK)
        if chunk:
            self._held[peer] += chunk
        else:
            self._ended[one] = True
        self._send(peer)

    def _send(self, one: socket.socket) -> None:
        held = self._held[one]
        if held:
            try:
                del held[: one.send(held)]
            except BlockingIOError:
                return
        if not held and self._ended[self._peer[one]]:
            one.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        for one, events in self._events.items():
            if events:
                self._selector.unregister(one)
            one.close()
        self._events = dict.fromkeys(self._events, 0)
