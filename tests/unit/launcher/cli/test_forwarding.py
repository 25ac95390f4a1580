"""A port of loopback reaches a server that somebody connects to, for as long as it is wanted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from waiting import eventually

from launcher.cli.dev.forwarding import forwarded


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A socket file whose server answers in capitals and hangs up at the end of what it hears."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        threading.Thread(target=_answer_all, args=(listener,), daemon=True).start()
        yield tmp_path / "socket"
        listener.shutdown(socket.SHUT_RDWR)


def _answer_all(listener: socket.socket) -> None:
    try:
        while True:
            connection, _address = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()
    except OSError:
        return


def _answer(connection: socket.socket) -> None:
    with connection:
        while chunk := connection.recv(1 << 16):
            connection.sendall(chunk.upper())


def ask(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        threading.Thread(target=lambda: (connection.sendall(words), connection.shutdown(socket.SHUT_WR))).start()
        heard = b""
        while chunk := connection.recv(1 << 16):
            heard += chunk
        return heard


def listen() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def test_connections_reach_the_server_both_ways(far: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    (one, port), (other, second) = listen(), listen()
    with forwarded({one: partial(connect, far), other: partial(connect, far)}, when_up=told.touch):
        eventually(told.exists)
        assert b"HELLO" == ask(port, b"hello")
        assert b"A" * 3_000_000 == ask(second, b"a" * 3_000_000)
    with pytest.raises(ConnectionRefusedError):
        ask(port, b"hello")


def test_nobody_listens_there_yet(tmp_path: Path) -> None:
    listener, port = listen()
    with forwarded({listener: partial(connect, tmp_path / "socket")}):
        assert b"" == ask(port, b"")
