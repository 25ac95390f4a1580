"""Netlink messages and sockets (netlink(7)): headers, attributes, acknowledgements. What is said is `links.py`, `nftables.py`.

A container needs ten messages. A library for all of netlink costs 0.35 s of imports and 15 MB in a process that lives for days.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Self

from runtime.light_dataclasses import dataclass

ROUTE, NETFILTER = 0, 12

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
EXCLUSIVE, CREATE, APPEND = 0x200, 0x400, 0x800

NESTED = 0x8000

_ERROR, _DONE = 2, 3
_DUMP_INTERRUPTED = 0x10
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ATTRIBUTE_TYPE = 0x3FFF
_ACK_TLVS = 0x200
_REASON = 1  # NLMSGERR_ATTR_MSG
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ANSWER_BYTES = 1 << 18
_INTERRUPTED_DUMPS = 200
_PAUSE_S = 0.002
_ANSWER_WITHIN_S = 60.0


class NetlinkError(OSError):
    """The kernel refused a message; its own words are in the text where it has any."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message without its header: what it is, how it is meant, the fixed part and the attributes."""

    kind: int
    body: bytes
    flags: int = 0


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """A 32 bit word in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def network_number(kind: int, value: int) -> bytes:
    """A 32 bit word in network byte order, as netfilter has them; a negative one as its two's complement."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every attribute in *data*: kind without flags, and payload."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & _ATTRIBUTE_TYPE, data[offset + 4 : offset + length]
        offset += length + 3 & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in *data* by kind; of several of a kind the last."""
    return dict(each_attribute(data))


def to_text(payload: bytes | None) -> str | None:
    return None if payload is None else payload.rstrip(b"\0").decode(errors="replace")


class Netlink:
    """A netlink socket of the network namespace in which it was made, wherever its process goes."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.settimeout(_ANSWER_WITHIN_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, *messages: Message) -> list[tuple[int, bytes]]:
        """Send *messages* at once; (kind, body) of whatever comes back. Raises NetlinkError for the first that was refused; the
        others have been carried out or refused by then, too."""
        waiting: set[int] = set()
        packet = b""
        for message in messages:
            self._sequence += 1
            waiting.add(self._sequence)
            packet += _frame(message, REQUEST | ACK, self._sequence)
        return self._exchange(packet, waiting)

    def batch(self, begin: Message, messages: Sequence[Message], end: Message) -> None:
        """Send *messages* between *begin* and *end*, which are not acknowledged: all or none of them are carried out."""
        self._sequence += 1
        packet = _frame(begin, REQUEST, self._sequence)
        waiting: set[int] = set()
        for message in messages:
            self._sequence += 1
            waiting.add(self._sequence)
            packet += _frame(message, REQUEST | ACK, self._sequence)
        self._sequence += 1
        self._exchange(packet + _frame(end, REQUEST, self._sequence), waiting)

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """Everything of what *message* asks about. Asked again where it changed meanwhile (NLM_F_DUMP_INTR)."""
        for _ in range(_INTERRUPTED_DUMPS):
            self._sequence += 1
            self._socket.send(_frame(message, REQUEST | DUMP, self._sequence))
            whole, answers = True, []
            done = False
            while not done:
                for kind, flags, sequence, body in self._receive():
                    if sequence != self._sequence:
                        continue
                    whole = whole and not flags & _DUMP_INTERRUPTED
                    if kind == _DONE:
                        done = True
                    elif kind == _ERROR:
                        raise _refusal(flags, body)
                    else:
                        answers.append((kind, body))
            if whole:
                return answers
            time.sleep(_PAUSE_S)
        raise NetlinkError(errno.EINTR, "the kernel's list changed again and again while it was read")

    def _exchange(self, packet: bytes, waiting: set[int]) -> list[tuple[int, bytes]]:
        self._socket.send(packet)
        answers: list[tuple[int, bytes]] = []
        refused: NetlinkError | None = None
        while waiting:
            for kind, flags, sequence, body in self._receive():
                if kind != _ERROR:
                    answers.append((kind, body))
                    continue
                # A batch that is refused as a whole is answered at its begin's number.
                if struct.unpack_from("=i", body)[0] != 0:
                    refused = refused or _refusal(flags, body)
                    if sequence not in waiting:
                        waiting.clear()
                waiting.discard(sequence)
        if refused is not None:
            raise refused
        return answers

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_ANSWER_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
            offset += length + 3 & ~3


def _frame(message: Message, flags: int, sequence: int) -> bytes:
    length = _HEADER.size + len(message.body)
    return _HEADER.pack(length, message.kind, flags | message.flags, sequence, 0) + message.body + bytes(-length % 4)


def _refusal(flags: int, body: bytes) -> NetlinkError:
    """The error of an NLMSG_ERROR: a negative errno, the header of the refused message, and attributes when `flags` says so."""
    code = -struct.unpack_from("=i", body)[0]
    words = os.strerror(code).lower()
    if flags & _ACK_TLVS:
        reason = to_text(attributes(body[4 + _HEADER.size :]).get(_REASON))
        words = f"{words}: {reason.lower()}" if reason else words
    return NetlinkError(code, words)
