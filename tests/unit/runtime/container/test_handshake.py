"""Messages between creator, helper and init."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.container import handshake
from runtime.errors import ContainerError, Unsupported
from runtime.kernel.libc import KernelError


def test_documents_and_descriptors_arrive_together() -> None:
    ours, theirs = handshake.channel()
    reader, writer = os.pipe()
    assert handshake.send(ours, {"ready": True}, (reader,))
    message = handshake.receive(theirs)
    assert message is not None
    document, (received,) = message
    assert {"ready": True} == document
    os.write(writer, b"x")
    assert b"x" == os.read(received, 1)
    assert not os.get_inheritable(received)
    for fd in (reader, writer, received):
        os.close(fd)
    ours.close()
    theirs.close()


def test_the_end_of_the_other_side_is_no_error() -> None:
    ours, theirs = handshake.channel()
    theirs.close()
    assert handshake.receive(ours) is None
    assert not handshake.send(ours, {"start": {}})
    ours.close()


def test_last_words_arrive_although_ours_were_not_read() -> None:
    """A helper that fails before it reads that it is in its cgroup: the kernel answers ECONNRESET first."""
    ours, theirs = handshake.channel()
    handshake.send(ours, {"cgroup": True})
    handshake.send(theirs, {"error": "x"})
    theirs.close()
    assert ({"error": "x"}, []) == handshake.receive(ours)
    assert handshake.receive(ours) is None
    ours.close()


def test_a_failure_arrives_as_itself_with_its_hint() -> None:
    failure = handshake.failure(handshake.describe(Unsupported("no overlay", hint="modprobe overlay")))
    assert isinstance(failure, Unsupported)
    assert ("no overlay", "modprobe overlay") == (failure.message, failure.hint)


def test_a_failed_system_call_is_a_container_error_with_the_call_in_it() -> None:
    failure = handshake.failure(handshake.describe(KernelError(1, "mount('proc')")))
    assert isinstance(failure, ContainerError)
    assert "mount('proc'): Operation not permitted (EPERM)" in failure.message


def test_a_bug_stays_a_bug() -> None:
    assert isinstance(handshake.failure(handshake.describe(KeyError("x"))), RuntimeError)


def test_a_socket_may_lie_deep(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "init.sock"
    path.parent.mkdir()
    with handshake.bind_socket(path) as listener, handshake.connect_socket(path) as connection:
        accepted, _ = listener.accept()
        handshake.send(accepted, {"adopted": "x"})
        assert ({"adopted": "x"}, []) == handshake.receive(connection)
        accepted.close()
    assert 0o600 == path.stat().st_mode & 0o777


def test_nobody_listening_is_told_apart_from_an_answer(tmp_path: Path) -> None:
    handshake.bind_socket(tmp_path / "init.sock").close()
    with pytest.raises(ConnectionRefusedError):
        handshake.connect_socket(tmp_path / "init.sock")
