"""The one D-Bus message, read by a small decoder, and a systemd that is a socket in a thread."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest

from runtime.cgroup import systemd_scope


class Decoder:
    """Reads D-Bus values by signature (D-Bus Specification, "Marshaling")."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def align(self, boundary: int) -> None:
        self.at += -self.at % boundary

    def number(self, form: str, size: int) -> int:
        self.align(size)
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return value

    def read(self, kind: str):
        if kind in "ub":
            return self.number("<I", 4)
        if kind == "t":
            return self.number("<Q", 8)
        if kind == "y":
            return self.number("<B", 1)
        if kind in "sog":
            size = self.number("<B", 1) if kind == "g" else self.number("<I", 4)
            text = self.data[self.at : self.at + size].decode()
            assert 0 == self.data[self.at + size]
            self.at += size + 1
            return text
        if kind == "v":
            return self.read(self.read("g"))
        assert kind in ("au", "a(sv)", "a(yv)", "a(sa(sv))")
        size = self.number("<I", 4)
        if kind != "au":
            self.align(8)
        end, found = self.at + size, []
        while self.at < end:
            if kind == "au":
                found.append(self.read("u"))
            else:
                self.align(8)
                found.append((self.read(kind[2]), self.read(kind[3:-1])))
        assert end == self.at
        return found


def test_the_message_reads_back_as_what_was_asked():
    properties = [
        ("Description", "s", "launch"),
        ("PIDs", "au", (17, 4711)),
        ("TasksMax", "t", 2**64 - 1),
        ("Delegate", "b", True),
    ]
    message = Decoder(systemd_scope.start_transient_unit("launch-17.scope", properties))
    assert [ord("l"), 1, 0, 1] == [message.read("y") for _ in range(4)]
    body_size, serial = message.read("u"), message.read("u")
    fields = dict(message.read("a(yv)"))
    message.align(8)
    assert (1, len(message.data) - message.at) == (serial, body_size)
    assert ("StartTransientUnit", "ssa(sv)a(sa(sv))") == (fields[3], fields[8])
    body = Decoder(message.data[message.at :])
    assert ["launch-17.scope", "fail"] == [body.read("s"), body.read("s")]
    assert [("Description", "launch"), ("PIDs", [17, 4711]), ("TasksMax", 2**64 - 1), ("Delegate", 1)] == body.read("a(sv)")
    assert [] == body.read("a(sa(sv))")
    assert len(body.data) == body.at


@pytest.fixture
def manager(tmp_path):
    """A systemd that lets everybody in and gives *answer*."""

    def start(answer: bytes) -> Path:
        path = tmp_path / "private"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"OK 0123\r\n")
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return path

    return start


def _reply(kind: int, fields: bytes = b"", body: bytes = b"") -> bytes:
    head = bytes([ord("l"), kind, 0, 1]) + struct.pack("<III", len(body), 1, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


@pytest.mark.parametrize(("kind", "worked"), [pytest.param(2, True, id="return"), pytest.param(3, False, id="error")])
def test_the_answer_is_waited_for_behind_signals(manager, kind, worked):
    path = manager(_reply(4, b"\1" * 13, b"x" * 5) + _reply(kind))
    assert worked is systemd_scope._call(path, systemd_scope.start_transient_unit("a.scope", []))


def test_a_connection_that_ends_early_is_an_os_error(manager):
    with pytest.raises(ConnectionError):
        systemd_scope._call(manager(b"l\2"), b"")


@pytest.mark.parametrize(
    ("place", "uid", "expected"),
    [
        ("user.slice/user-0.slice/session-1.scope", 0, "user-0.slice"),
        ("user.slice/user-1000.slice/session-1.scope", 1000, None),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope", 1000, "app.slice"),
        (
            "user.slice/user-1000.slice/user@1000.service/training.slice/training-big.slice/run-1.scope",
            1000,
            "training-big.slice",
        ),
        ("job", 0, None),
    ],
)
def test_the_scope_stays_in_the_slice_whose_limits_hold(place: str, uid: int, expected: str | None) -> None:
    assert expected == systemd_scope.own_slice(Path("/sys/fs/cgroup") / place, uid)
