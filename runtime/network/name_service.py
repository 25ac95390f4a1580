"""A resolver in a container: names of its named network's members, and everything else from the host's own servers (RFC 1035).

It listens on the container's loopback and asks from the host's network namespace, so that servers on the host's loopback answer
too.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address
from typing import IO

from runtime.network.addresses import Member, addresses_named

PORT = 53

_HEADER = struct.Struct(">HHHHHH")
_A, _PTR, _AAAA, _IN = 1, 12, 28, 1
_RESPONSE, _RECURSION = 0x8000, 0x0080
_OPCODE, _ECHOED = 0x7800, 0x0100
_SERVER_FAILURE = 2
_TTL_S = 5
_ANSWER_WITHIN_S = 3.0
_LONGEST = 65535
_STREAMS = 8
_MOST_ASKED = 256

Members = Callable[[], Sequence[Member]]
OnHost = Callable[[str, int], socket.socket]
"""A socket of the host's network namespace, of an address' family and of a type."""


class Question:
    """The first question of a query: what it asks and where it ends."""

    def __init__(self, query: bytes) -> None:
        """Raises ValueError for what is no query with one question."""
        if len(query) < _HEADER.size:
            raise ValueError("too short")
        self.id, self.flags, questions, *_ = _HEADER.unpack_from(query)
        if questions != 1 or self.flags & (_RESPONSE | _OPCODE):
            raise ValueError("no plain query")
        labels, offset = [], _HEADER.size
        while True:
            length = query[offset] if offset < len(query) else 64
            if length > 63 or offset + 1 + length > len(query):
                raise ValueError("no name")
            offset += 1
            if length == 0:
                break
            labels.append(query[offset : offset + length].decode("latin-1").lower())
            offset += length
        if offset + 4 > len(query):
            raise ValueError("no type")
        self.name = ".".join(labels)
        self.type, self.class_ = struct.unpack_from(">HH", query, offset)
        self.raw = query[_HEADER.size : offset + 4]

    def answer(self, records: Sequence[tuple[int, bytes]], *, code: int = 0) -> bytes:
        """A response with *records* (type and data) of the name that was asked for."""
        flags = _RESPONSE | _RECURSION | self.flags & _ECHOED | code
        parts = [_HEADER.pack(self.id, flags, 1, len(records), 0, 0), self.raw]
        parts += [struct.pack(">HHHIH", 0xC000 | _HEADER.size, kind, _IN, _TTL_S, len(data)) + data for kind, data in records]
        return b"".join(parts)


def answer_of_members(question: Question, members: Sequence[Member]) -> bytes | None:
    """What *members* say to *question*; None where it is not about one of them."""
    if question.class_ != _IN:
        return None
    if question.type == _PTR:
        asked = _address_of(question.name)
        for member in members:
            if asked in member.addresses:
                return question.answer([(_PTR, _wire_name(member.names[0] if member.names else member.container_id))])
        return None
    found = addresses_named(members, question.name)
    if not found:
        return None
    wanted = {_A: 4, _AAAA: 6}.get(question.type)
    return question.answer([(question.type, address.packed) for address in found if address.version == wanted])


def _address_of(name: str) -> object:
    """The IPv4 address of a name below in-addr.arpa; None otherwise."""
    labels = name.split(".")
    if labels[-2:] != ["in-addr", "arpa"] or len(labels) != 6:
        return None
    try:
        return IPv4Address(".".join(reversed(labels[:4])))
    except ValueError:
        return None


def _wire_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"


class NameService:
    """Answers on *udp* and *tcp*, both bound inside. `members` is asked anew for each question."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        udp: socket.socket,
        tcp: socket.socket,
        members: Members,
        servers: Callable[[], Sequence[str]],
        on_host: OnHost,
    ) -> None:
        self._selector = selector
        self._udp = udp
        self._members = members
        self._servers = servers
        self._on_host = on_host
        self._asked: dict[socket.socket, tuple[float, Question, bytes, tuple[str, int], list[str]]] = {}
        self._free_streams = threading.Semaphore(_STREAMS)
        udp.setblocking(False)
        tcp.setblocking(False)
        selector.register(udp, selectors.EVENT_READ, lambda _: self._take_query())
        selector.register(tcp, selectors.EVENT_READ, lambda _: self._stream(tcp))

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return min((deadline for deadline, *_ in self._asked.values()), default=None)

    def expire(self) -> None:
        """Ask the next server where one did not answer in time."""
        now = time.monotonic()
        for upstream, (deadline, question, query, client, servers) in list(self._asked.items()):
            if deadline <= now:
                self._forget(upstream)
                self._ask(question, query, client, servers)

    def _take_query(self) -> None:
        try:
            query, client = self._udp.recvfrom(_LONGEST)
            question = Question(query)
        except (BlockingIOError, ValueError):
            return
        answer = answer_of_members(question, self._members())
        if answer is not None:
            self._reply(answer, client)
        else:
            self._ask(question, query, client, list(self._servers()))

    def _ask(self, question: Question, query: bytes, client: tuple[str, int], servers: list[str]) -> None:
        """Send *query* on to the first of *servers* that takes it. A socket each: who forges an answer must know its port."""
        while servers and len(self._asked) < _MOST_ASKED:
            server = servers.pop(0)
            try:
                upstream = self._on_host(server, socket.SOCK_DGRAM)
                upstream.setblocking(False)
                upstream.connect(_socket_address(server))
                upstream.send(query)
            except OSError:
                continue
            self._asked[upstream] = (time.monotonic() + _ANSWER_WITHIN_S, question, query, client, servers)
            self._selector.register(upstream, selectors.EVENT_READ, lambda _, upstream=upstream: self._take_answer(upstream))
            return
        self._reply(question.answer([], code=_SERVER_FAILURE), client)

    def _take_answer(self, upstream: socket.socket) -> None:
        _, question, query, client, servers = self._asked[upstream]
        try:
            answer = upstream.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._forget(upstream)
            self._ask(question, query, client, servers)
            return
        if answer[:2] == query[:2]:
            self._forget(upstream)
            self._reply(answer, client)

    def _forget(self, upstream: socket.socket) -> None:
        del self._asked[upstream]
        self._selector.unregister(upstream)
        upstream.close()

    def _reply(self, answer: bytes, client: tuple[str, int]) -> None:
        try:
            self._udp.sendto(answer, client)
        except OSError:
            # The one who asked is gone.
            return

    def _stream(self, tcp: socket.socket) -> None:
        """Questions by TCP, which a client asks that got a truncated answer. In threads: those are few, and may take long."""
        try:
            connection, _ = tcp.accept()
        except OSError:
            return
        if not self._free_streams.acquire(blocking=False):
            connection.close()
            return
        threading.Thread(target=self._serve_stream, args=(connection,), daemon=True).start()

    def _serve_stream(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as incoming:
                connection.settimeout(_ANSWER_WITHIN_S)
                # More than one: glibc asks for both families at once.
                while query := _read_framed(incoming):
                    question = Question(query)
                    answer = answer_of_members(question, self._members()) or self._ask_by_stream(query)
                    answer = answer or question.answer([], code=_SERVER_FAILURE)
                    connection.sendall(struct.pack(">H", len(answer)) + answer)
        except (OSError, ValueError):
            return
        finally:
            self._free_streams.release()

    def _ask_by_stream(self, query: bytes) -> bytes | None:
        for server in self._servers():
            try:
                with self._on_host(server, socket.SOCK_STREAM) as upstream:
                    upstream.settimeout(_ANSWER_WITHIN_S)
                    upstream.connect(_socket_address(server))
                    upstream.sendall(struct.pack(">H", len(query)) + query)
                    with upstream.makefile("rb") as incoming:
                        answer = _read_framed(incoming)
                    if answer:
                        return answer
            except (OSError, ValueError):
                continue
        return None


def _read_framed(incoming: IO[bytes]) -> bytes:
    """A message by TCP: its length in two bytes, then itself. Empty at the end."""
    head = incoming.read(2)
    return incoming.read(int.from_bytes(head, "big")) if len(head) == 2 else b""


def _socket_address(server: str) -> tuple[str, int] | tuple[str, int, int, int]:
    address, _, zone = server.partition("%")
    if ip_address(address).version == 4:
        return address, PORT
    return address, PORT, 0, socket.if_nametoindex(zone) if zone else 0
