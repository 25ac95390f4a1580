"""A container without a program of its own stays for those who come in."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.container.exec_inside import ExecRequest, connect_inside, exec_inside
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.errors import ContainerError
from runtime.light_dataclasses import replace
from tests.kernel.test_exec_inside import outcome, read_all, running
from tests.kernel.userland import PYTHON, make_spec

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")


def staying(place: Path, *, idle_s: float | None = None, leave_s: float = 20) -> ContainerSpec:
    return replace(make_spec(place, "unused"), argv=(), processes=0, idle_s=idle_s, rank_grace_s=leave_s)


def test_it_outlives_those_who_come_in_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with running(staying(tmp_path)) as container:
        for word in ("one", "two"):
            with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", f"echo {word} $TOLD_LATE"))) as program:
                assert read_all(program.stdout) == f"{word} yes\n".encode()
        lifecycle.signal(container, signal.SIGWINCH)
        assert not select.select([container.pidfd], [], [], 0.3)[0]
        lifecycle.signal(container, signal.SIGTERM)
        assert ProcessExit(None, signal.SIGTERM) == lifecycle.wait(container, timeout_s=20)


def test_who_is_in_it_at_its_end_is_hung_up_and_may_finish(tmp_path: Path) -> None:
    stubborn = "trap '' HUP; echo ready; sleep 4324"
    with running(staying(tmp_path, leave_s=1)) as container:
        with exec_inside(
            tmp_path / "init.sock", ExecRequest(("sh", "-c", "trap 'echo bye; exit 0' HUP; echo ready; sleep 5 & wait"))
        ) as polite:
            assert os.read(polite.stdout, 6) == b"ready\n"
            with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", stubborn))) as program:
                assert os.read(program.stdout, 6) == b"ready\n"
                lifecycle.signal(container, signal.SIGTERM)
                assert read_all(polite.stdout) == b"bye\n"
                assert program.ended() is None  # killed with the container, a second later
        lifecycle.wait(container, timeout_s=20)


@pytest.mark.parametrize("use", ["nothing", "shell", "sleeper", "computing"])
def test_it_ends_when_nobody_uses_it(tmp_path: Path, use: str) -> None:
    """A shell at its prompt is no use, and a server that waits is none; computing is."""
    argv = {"computing": ("sh", "-c", "while :; do :; done"), "sleeper": ("sleep", "4325")}.get(use, ("sh",))
    terminal = None if use in ("computing", "sleeper") else (24, 80)
    idle_s = 2.0 if use == "computing" else 0.8  # a busy machine may leave it no time for a while
    with running(staying(tmp_path, idle_s=idle_s, leave_s=0.2)) as container:
        if use == "nothing":
            assert ProcessExit(0, None) == lifecycle.wait(container, timeout_s=20)
            return
        with exec_inside(tmp_path / "init.sock", ExecRequest(argv, terminal=terminal)):
            is_over = bool(select.select([container.pidfd], [], [], 3 if use == "computing" else 20)[0])
            assert is_over is (use in ("shell", "sleeper"))


def test_connections_are_made_inside_and_kept_programs_outlive_their_caller(tmp_path: Path) -> None:
    """What an editor's server in the background is, and how it is reached: the container has no network but its own loopback."""
    serve = """\
import socket
made = socket.create_server(("127.0.0.1", 4327))
print("up", flush=True)
while True:
    made.accept()[0].sendall(b"here")
"""
    with running(staying(tmp_path, leave_s=0.2)) as container:
        init_socket = tmp_path / "init.sock"
        with pytest.raises(ContainerError, match=r"no connection to port 4327 of 127\.0\.0\.1: connection refused"):
            connect_inside(init_socket, ("127.0.0.1", 4327))
        with exec_inside(init_socket, ExecRequest((PYTHON, "-c", serve), is_kept=True)) as program:
            assert os.read(program.stdout, 3) == b"up\n"
        for _ in range(2):
            with connect_inside(init_socket, ("127.0.0.1", 4327)) as connection:
                assert connection.recv(100) == b"here"
        with pytest.raises(ContainerError, match="no connection to `/tmp/none`: no such file or directory"):
            connect_inside(init_socket, "/tmp/none")
        lifecycle.signal(container, signal.SIGTERM)
        assert ProcessExit(None, signal.SIGTERM) == lifecycle.wait(container, timeout_s=20)


def test_its_files_are_served_with_the_rights_of_its_program(tmp_path: Path) -> None:
    """REALPATH of `.`, and OPEN of a file that is somebody else's (draft-ietf-secsh-filexfer-02)."""
    with running(staying(tmp_path)):
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", "umask 077; echo secret > /tmp/other"))) as program:
            assert ProcessExit(0, None) == outcome(program)
        request = ExecRequest((), cwd="/tmp", user="12:34", serves_files=True)
        with exec_inside(tmp_path / "init.sock", request) as server:
            for body in (b"\x01\0\0\0\3", b"\x10\0\0\0\1\0\0\0\1.", b"\x03\0\0\0\2\0\0\0\5other\0\0\0\1\0\0\0\0"):
                os.write(server.stdin, len(body).to_bytes(4, "big") + body)
            server.close_stdin()
            said = read_all(server.stdout)
    assert b"\0\0\0\1\0\0\0\1\0\0\0\4/tmp\0\0\0\4/tmp" in said
    assert b"\x65\0\0\0\2\0\0\0\3\0\0\0\x11Permission denied" in said


def test_the_memory_of_what_serves_its_files_is_closed_to_it(tmp_path: Path) -> None:
    """It is a copy of the launcher, as init is, and stays so for as long as somebody looks at files."""
    look = "for one in /proc/[0-9]*; do read name <$one/comm; [ $name = launch-init ] && echo seen && cat $one/environ; done"
    with running(replace(staying(tmp_path), build=True)):
        with exec_inside(tmp_path / "init.sock", ExecRequest((), serves_files=True)) as server:
            os.write(server.stdin, b"\0\0\0\x05\x01\0\0\0\3")
            assert os.read(server.stdout, 1 << 10)
            with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", look))) as program:
                assert read_all(program.stdout) == b"seen\nseen\n"
