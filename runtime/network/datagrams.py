"""Carry UDP from the host's sockets into a container and back: each client has a socket of its own inside, so that answers find
their way.

As with connections (`forwarder.py`), 127.0.0.1 is tried first. That nobody listens there is heard only after something was sent:
what a client sends is kept until the first answer, and sent again to the next address.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_LONGEST = 65535
_IDLE_S = 90.0
"""A client that is silent for so long is forgotten; docker-proxy waits as long."""
_MOST_CLIENTS = 512
_MOST_KEPT = 8
_MOST_AT_ONCE = 64

_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_WHICH = {(socket.IPPROTO_IP, _IP_PKTINFO): slice(0, 4), (socket.IPPROTO_IPV6, _IPV6_PKTINFO): slice(16, 20)}
"""Where the interface's number is in what comes with a datagram (ip(7), ipv6(7))."""

Ancillary = list[tuple[int, int, bytes]]


class DatagramForwarder:
    """Sockets of the host's side and the clients of each."""

    def __init__(self, selector: selectors.BaseSelector, targets: Sequence[str]) -> None:
        self._selector = selector
        self._targets = tuple(targets)
        """Addresses inside, tried in this order."""
        self._clients: dict[tuple[int, Any], _Client] = {}

    def add(self, outside: socket.socket, port: int) -> None:
        """Carry what comes to *outside* to *port* inside."""
        outside.setblocking(False)
        request_pktinfo(outside)
        self._selector.register(outside, selectors.EVENT_READ, lambda _: self._receive(outside, port))

    def _receive(self, outside: socket.socket, port: int) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                datagram, ancillary, _flags, peer = outside.recvmsg(_LONGEST, 256)
            except OSError:  # nothing more, or what the last answer met
                return
            key = (outside.fileno(), peer)
            client = self._clients.get(key)
            if client is None:
                self._make_room()
                answer = _Answer(outside, peer, answer_from_same_address(ancillary))
                client = self._clients[key] = _Client(self._selector, answer, self._targets, port)
            client.send(datagram)

    def _make_room(self) -> None:
        """Forget who was silent for long; and whoever was silent longest where there are too many."""
        now = time.monotonic()
        silent = sorted(self._clients, key=lambda key: self._clients[key].heard_at)
        too_many = len(silent) - _MOST_CLIENTS + 1
        for position, key in enumerate(silent):
            if position < too_many or now - self._clients[key].heard_at > _IDLE_S:
                self._clients.pop(key).close()


class _Answer:
    """The way back to one client."""

    def __init__(self, outside: socket.socket, peer: Any, ancillary: Ancillary) -> None:
        self._outside, self._peer, self._ancillary = outside, peer, ancillary

    def send(self, datagram: bytes) -> None:
        with suppress(OSError):  # a full queue, or a client that is gone: it is UDP
            self._outside.sendmsg([datagram], self._ancillary, 0, self._peer)


class _Client:
    """One client's socket inside."""

    def __init__(self, selector: selectors.BaseSelector, answer: _Answer, targets: Sequence[str], port: int) -> None:
        self._selector, self._answer, self._targets, self._port = selector, answer, tuple(targets), port
        self._untried: list[str] = []
        self._inside: socket.socket | None = None
        self._kept: deque[bytes] | None = deque(maxlen=_MOST_KEPT)
        """What may have to be sent again; None once something was answered."""
        self.heard_at = time.monotonic()

    def send(self, datagram: bytes) -> None:
        self.heard_at = time.monotonic()
        if self._kept is not None:
            self._kept.append(datagram)
        if self._inside is None:
            self._untried = list(self._targets)
            self._connect_next()
            return
        try:
            self._inside.send(datagram)
        except ConnectionRefusedError:  # of an earlier one
            self._try_next()
        except OSError:
            return

    def _connect_next(self) -> None:
        """Take the next address inside, and send it what was kept."""
        while self._untried and self._inside is None:
            target = self._untried.pop(0)
            made = socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            made.setblocking(False)
            try:
                made.connect((target, self._port))
                for datagram in self._kept or ():
                    made.send(datagram)
            except OSError:
                made.close()
                continue
            self._inside = made
            self._selector.register(made, selectors.EVENT_READ, self._receive)

    def _receive(self, _events: int) -> None:
        inside = self._inside
        for _ in range(_MOST_AT_ONCE):
            if inside is None:
                return
            try:
                datagram = inside.recv(_LONGEST)
            except ConnectionRefusedError:
                self._try_next()
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    self.close()
                return
            self._kept = None
            self.heard_at = time.monotonic()
            self._answer.send(datagram)

    def _try_next(self) -> None:
        """Nobody listens there. Where somebody did answer once, it ended and may come back: the socket stays."""
        if self._kept is None:
            return
        self.close()
        self._connect_next()
        if self._inside is None:
            self._kept.clear()  # nobody anywhere: what comes next begins anew

    def close(self) -> None:
        if self._inside is not None:
            self._selector.unregister(self._inside)
            self._inside.close()
            self._inside = None


def request_pktinfo(outside: socket.socket) -> None:
    """Have each datagram say which of this machine's addresses it came to: the answer must come from there."""
    if outside.family == socket.AF_INET6:
        outside.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        outside.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def answer_from_same_address(ancillary: Ancillary) -> Ancillary:
    """What came with a datagram as what goes with its answer: the same address, by whichever interface leads there."""
    found = []
    for level, kind, data in ancillary:
        where = _WHICH.get((level, kind))
        if where is not None:
            packed = bytearray(data)
            packed[where] = bytes(4)
            found.append((level, kind, bytes(packed)))
    return found
