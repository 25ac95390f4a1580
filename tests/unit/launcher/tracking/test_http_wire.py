"""HTTP messages over a real socket pair, whole, chunked and broken."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator

import pytest

from launcher.tracking.gateway.http_wire import BadMessage, Head, read_body, read_head, send_message


def sent(first: str, body: bytes | list[bytes], *, length: int | None = None) -> io.BytesIO:
    here, there = socket.socketpair()
    with here, there:
        send_message(here, first, {"X-A": "1"}, body, length=length)
        here.shutdown(socket.SHUT_WR)
        with there.makefile("rb") as stream:
            return io.BytesIO(stream.read())


@pytest.mark.parametrize(
    ("body", "length"), [(b"hello", None), (b"", None), ([b"he", b"", b"llo"], 5), ([b"he", b"llo"], None), ([], None)]
)
def test_what_is_sent_is_read(body: bytes | list[bytes], length: int | None) -> None:
    stream = sent("POST /x HTTP/1.1", body, length=length)
    head = read_head(stream)
    assert head is not None
    assert (("POST", "/x", "HTTP/1.1"), "1") == (head.first, head.headers["x-a"])
    whole = b"".join(body) if isinstance(body, list) else body
    assert whole == b"".join(read_body(stream, head))
    assert read_head(stream) is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"GET\r\n\r\n", id="no target"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", id="no colon"),
        pytest.param(b"GET / HTTP/1.1\r\nspace : x\r\n\r\n", id="space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b", id="broken off"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(300)) + b"\r\n", id="300 headers"),
        pytest.param(b"G" * 70_000, id="endless line"),
    ],
)
def test_a_bad_head_is_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        read_head(io.BytesIO(message))


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        pytest.param({"content-length": "-1"}, b"", id="negative length"),
        pytest.param({"content-length": "5"}, b"abc", id="too short"),
        pytest.param({"transfer-encoding": "chunked"}, b"zz\r\n", id="no chunk size"),
        pytest.param({"transfer-encoding": "chunked"}, b"3\r\nab", id="broken chunk"),
        pytest.param({"transfer-encoding": "chunked"}, b"2\r\nabcd\r\n0\r\n\r\n", id="long chunk"),
    ],
)
def test_a_broken_body_is_never_a_short_one(headers: dict[str, str], content: bytes) -> None:
    with pytest.raises(BadMessage):
        list(read_body(io.BytesIO(content), Head(("POST", "/", "HTTP/1.1"), headers)))


def test_a_huge_chunk_is_not_held_in_memory() -> None:
    size = 3 << 20
    content = b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n"
    pieces: Iterator[bytes] = read_body(io.BytesIO(content), Head(("PUT", "/", ""), {"transfer-encoding": "chunked"}))
    lengths = [len(piece) for piece in pieces]
    assert size == sum(lengths)
    assert max(lengths) <= 1 << 20
