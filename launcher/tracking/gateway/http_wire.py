"""HTTP/1.1 messages on a stream socket: what the gateway reads and the local client writes.

Only what those two need (RFC 9112): one message after the other, `Content-Length` or chunked bodies, bodies as iterators so
that an artifact never stands in memory whole. `http.client` and `http.server` would cost the tracker 51 ms and 17 MB before
the program of a run may start; they serve only remote addresses (`mlflow/rest.py`).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from typing import Protocol

from runtime.light_dataclasses import dataclass

_LINE_MAX = 65_536
_HEADERS_MAX = 200
_CHUNK = 262_144
_FRAMING = ("content-length", "transfer-encoding", "host")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BinaryStream(Protocol):
    """What `socket.makefile("rb")` gives."""

    def readline(self, limit: int = -1, /) -> bytes: ...

    def read(self, size: int = -1, /) -> bytes: ...


class BadMessage(Exception):
    """The other side does not speak HTTP/1.1, or broke off in the middle of a message."""


@dataclass(frozen=True, slots=True)
class Head:
    """First line and headers (names in lower case) of a message."""

    first: tuple[str, str, str]
    """Request: method, target, version. Response: version, status, phrase."""
    headers: dict[str, str]

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


def read_head(stream: BinaryStream) -> Head | None:
    """The next message's head; None when the other side closed between messages."""
    line = _read_line(stream)
    if line is None:
        return None
    words = line.split(" ", 2)
    if len(words) == 2:
        words.append("")
    if len(words) != 3:
        raise BadMessage(f"not the first line of a message: {line[:80]!r}")
    headers: dict[str, str] = {}
    while True:
        line = _read_line(stream)
        if line is None:
            raise BadMessage("connection closed within the headers")
        if not line:
            return Head((words[0], words[1], words[2]), headers)
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or len(headers) >= _HEADERS_MAX:
            raise BadMessage(f"not a header: {line[:80]!r}")
        if name.lower() in headers and name.lower() in _FRAMING:
            raise BadMessage(f"two headers say how long a message is: `{name[:40]}`")
        headers[name.lower()] = value.strip()


def length_of(head: Head) -> int | None:
    """The body's length as the message says it; None when it doesn't. Raises BadMessage."""
    length = head.headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdigit() and len(length) < 19):
        raise BadMessage(f"not a length: {length[:20]!r}")
    return None if length is None else int(length)


def read_body(stream: BinaryStream, head: Head, *, until_close: bool = False) -> Iterator[bytes]:
    """The body, piece by piece. *until_close*: a response without a length lasts until the connection ends."""
    if head.headers.get("transfer-encoding", "").lower() == "chunked":
        yield from _read_chunked(stream)
        return
    length = head.headers.get("content-length")
    if length is None:
        while until_close and (piece := stream.read(_CHUNK)):
            yield piece
        return
    left = length_of(head) or 0
    while left:
        piece = stream.read(min(left, _CHUNK))
        if not piece:
            raise BadMessage(f"connection closed with {left} bytes of the body missing")
        left -= len(piece)
        yield piece


def send_message(
    sock: socket.socket, first: str, headers: dict[str, str], body: bytes | Iterable[bytes] = b"", *, length: int | None = None
) -> None:
    """Send a whole message. A body of pieces goes with *length* when it is known, else chunked."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    if isinstance(body, bytes):
        lines.append(f"Content-Length: {len(body)}")
        sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
    for piece in body:
        if piece:
            sock.sendall(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
    if length is None:
        sock.sendall(b"0\r\n\r\n")


def _read_chunked(stream: BinaryStream) -> Iterator[bytes]:
    while True:
        line = _read_line(stream)
        try:
            size = int((line or "").partition(";")[0], 16)
        except ValueError:
            raise BadMessage(f"not the size of a chunk: {line!r}") from None
        if size == 0:
            while _read_line(stream):
                continue
            return
        while size:
            piece = stream.read(min(size, _CHUNK))
            if not piece:
                raise BadMessage("connection closed within a chunk")
            size -= len(piece)
            yield piece
        if _read_line(stream) != "":
            raise BadMessage("a chunk is longer than its size")


def _read_line(stream: BinaryStream) -> str | None:
    line = stream.readline(_LINE_MAX)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise BadMessage("a line is too long or breaks off")
    text = line.rstrip(b"\r\n").decode("latin-1")
    if _CONTROL.search(text):
        # What one reader takes for the end of a line another may not: never passed on.
        raise BadMessage("a line has a control character in it")
    return text
