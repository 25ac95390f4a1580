"""What `exec_inside` starts is in the container in every respect, and nothing of the caller's is."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.cgroup.limits import Limits
from runtime.cgroup.own_cgroups import new_cgroup
from runtime.container import lifecycle
from runtime.container.adopt import adopt
from runtime.container.exec_inside import ExecRequest, SideProgram, exec_inside, program_terminal
from runtime.container.lifecycle import Container
from runtime.container.pty import set_size
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.errors import ContainerError
from runtime.kernel.id_maps import IdMapKind
from tests.kernel.userland import PYTHON, make_spec

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")

_FACTS = """
import json, os, resource, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "namespaces": {n: os.readlink(f"/proc/self/ns/{n}") for n in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")},
    "cgroup": open("/proc/self/cgroup").read(),
    "privileges": {k: status[k].strip() for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
                                                  "Uid", "Gid", "Groups")},
    "limits": [resource.getrlimit(n) for n in range(16)],
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "umask": os.umask(0),
    "session": os.getsid(0) == os.getpid(),
    "signals": [status[k].strip() for k in ("SigBlk", "SigIgn")],
}), flush=True)
"""


@contextmanager
def running(spec: ContainerSpec, **options: Any) -> Iterator[Container]:
    container = lifecycle.create(
        spec, exit_record=spec.overlay_dir.parent / "exit.json", init_socket=spec.overlay_dir.parent / "init.sock", **options
    )
    try:
        lifecycle.start(container, env={"TOLD_LATE": "yes"})
        yield container
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)


def read_all(fd: int, *, within_s: float = 20) -> bytes:
    """Everything until the end; the end of a terminal is EIO."""
    content = b""
    while select.select([fd], [], [], within_s)[0]:
        try:
            chunk = os.read(fd, 1 << 16)
        except OSError:
            return content
        if not chunk:
            return content
        content += chunk
    raise AssertionError(f"no end after {content!r}")


def read_until(fd: int, end: bytes, *, within_s: float = 20) -> bytes:
    content = b""
    while not content.endswith(end):
        assert select.select([fd], [], [], within_s)[0], f"nothing after {content!r}"
        content += os.read(fd, 1 << 16)
    return content


def type_into(init_socket: Path, words: bytes) -> None:
    terminal = program_terminal(init_socket)
    os.write(terminal, words)
    os.close(terminal)


def outcome(program: SideProgram, *, within_s: float = 20) -> ProcessExit | None:
    assert select.select([program.connection], [], [], within_s)[0], "it did not end"
    return program.ended()


def result(directory: Path, *argv: str, **changes: Any) -> tuple[ProcessExit | None, str, str]:
    with exec_inside(directory / "init.sock", ExecRequest(argv, **changes)) as program:
        program.close_stdin()
        stdout = read_all(program.stdout)
        stderr = b"" if program.stderr is None else read_all(program.stderr)
        return outcome(program), stdout.decode(), stderr.decode()


def test_it_has_what_the_program_has(tmp_path: Path) -> None:
    code = f"{_FACTS}\nimport time; time.sleep(60)"
    spec = make_spec(tmp_path, PYTHON, "-I", "-c", code, limits=Limits(memory_bytes=1 << 28))
    with new_cgroup(spec.container_id, spec.limits) as cgroup, running(spec, cgroup=cgroup) as container:
        own = json.loads(os.read(container.stdout_fd, 1 << 16))
        ended, stdout, stderr = result(tmp_path, PYTHON, "-I", "-c", _FACTS)
        assert ProcessExit(0, None) == ended, stderr
        assert own == json.loads(stdout)
        assert own["env"]["TOLD_LATE"] == "yes"


def test_what_is_asked_for_differs(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        changes: dict[str, Any] = {"env": {"PATH": "/usr/bin", "NEW": "a b"}, "cwd": "/tmp", "user": "1234:77"}
        ended, stdout, stderr = result(tmp_path, "sh", "-c", 'echo "$NEW" $PWD $HOME $(id -u):$(id -g); exit 9', **changes)
        assert (ProcessExit(9, None), "a b /tmp / 1234:77\n") == (ended, stdout), stderr


def test_users_are_those_of_the_running_container(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        script = "echo ada:x:1500:1500::/home/ada:/bin/sh >> /etc/passwd; echo lab:x:1600:ada >> /etc/group"
        assert ProcessExit(0, None) == result(tmp_path, "sh", "-c", script)[0]
        ended, stdout, _stderr = result(
            tmp_path, "sh", "-c", "id -u; id -G; echo $HOME; grep CapEff /proc/self/status", user="ada"
        )
        assert ended == ProcessExit(0, None)
        assert stdout.split() == ["1500", "1500", "1600", "/home/ada", "CapEff:", "0" * 16]
        with exec_inside(tmp_path / "init.sock", ExecRequest(("true",), user="nobody-here")) as program:
            assert select.select([program.connection], [], [], 20)[0]
            with pytest.raises(ContainerError, match="the container has no user `nobody-here`"):
                program.ended()


def test_a_passwd_that_is_a_fifo_stops_nobody(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        result(tmp_path, "sh", "-c", "rm -f /etc/passwd; mkfifo /etc/passwd")
        assert ProcessExit(0, None) == result(tmp_path, "true", user="5")[0]


@pytest.mark.parametrize(("argv", "code"), [(("nope",), 127), (("/etc",), 126)])
def test_what_cannot_run_says_why(tmp_path: Path, argv: tuple[str, ...], code: int) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        ended, _stdout, stderr = result(tmp_path, *argv)
        assert ended == ProcessExit(code, None)
        assert stderr.startswith("launch: cannot run `")


def test_it_sees_no_descriptor_but_three_pipes(tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    try:
        os.set_inheritable(secret, True)
        with running(make_spec(tmp_path, "sleep", "60")):
            script = "for fd in /proc/self/fd/*; do readlink $fd; done; ls /proc/1/fd /proc/1/cwd/ 2>&1; readlink /proc/1/exe"
            _ended, stdout, _stderr = result(tmp_path, "sh", "-c", script)
            kinds = {line.partition(":")[0] for line in stdout.splitlines() if line.partition(":")[0] != "ls"}
            assert kinds == {"pipe"}, stdout
            assert stdout.count("ermission denied") == 2
    finally:
        os.close(secret)


def test_stdin_goes_in_and_the_end_of_it(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", "tr a-z A-Z; echo oops >&2"))) as program:
            os.write(program.stdin, b"hello")
            program.close_stdin()
            assert b"HELLO" == read_all(program.stdout)
            assert program.stderr is not None
            assert b"oops\n" == read_all(program.stderr)
            assert ProcessExit(0, None) == outcome(program)


def test_a_terminal_is_the_containers_own(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        request = ExecRequest(("sh", "-c", "tty; stty size; read line; echo got $line; stty size; exit 5"), terminal=(33, 101))
        with exec_inside(tmp_path / "init.sock", request) as program:
            said = b""
            while said.count(b"\n") < 2:
                said += os.read(program.stdout, 1000)
            assert said.split() == [b"/dev/pts/0", b"33", b"101"]
            set_size(program.stdin, 50, 90)
            os.write(program.stdin, b"abc\n")
            assert b"got abc\r\n50 90\r\n" in read_all(program.stdout)
            assert ProcessExit(5, None) == outcome(program)


def test_ctrl_c_on_its_terminal_reaches_its_foreground(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        request = ExecRequest(
            ("sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done"), terminal=(24, 80)
        )
        with exec_inside(tmp_path / "init.sock", request) as program:
            assert b"ready" in os.read(program.stdout, 100)
            os.write(program.stdin, b"\x03")
            assert b"caught" in read_all(program.stdout)
            assert ProcessExit(3, None) == outcome(program)


@pytest.mark.parametrize("terminal", [None, (24, 80)])
def test_a_caller_that_is_gone_is_a_hang_up(tmp_path: Path, terminal: tuple[int, int] | None) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        request = ExecRequest(("sh", "-c", "echo ready; sleep 4321"), terminal=terminal)
        with exec_inside(tmp_path / "init.sock", request) as program:
            assert b"ready" in os.read(program.stdout, 100)
        deadline = time.monotonic() + 10
        script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        while "4321" in result(tmp_path, "sh", "-c", script)[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_signals_go_to_its_session(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", "echo ready; sleep 60; echo no"))) as program:
            assert b"ready\n" == os.read(program.stdout, 100)
            program.signal(signal.SIGTERM)
            assert ProcessExit(None, signal.SIGTERM) == outcome(program)


def test_the_end_of_the_container_ends_it(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")) as container:
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sleep", "60"))) as program:
            lifecycle.signal(container, signal.SIGTERM)
            assert outcome(program) is None
        with pytest.raises(ContainerError, match="the container has ended"):
            exec_inside(tmp_path / "init.sock", ExecRequest(("true",)))


def test_it_changes_nothing_for_the_program_and_its_record(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sh", "-c", "sleep 1; exit 4")) as container:
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", "sleep 60 & exit 1"))) as program:
            assert ProcessExit(1, None) == outcome(program)
        assert ProcessExit(4, None) == lifecycle.wait(container, timeout_s=20)


def test_a_container_at_its_limit_of_processes_says_so_and_lives_on(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sleep", "60", limits=Limits(pids=8))
    with new_cgroup(spec.container_id, spec.limits) as cgroup, running(spec, cgroup=cgroup) as container:
        if cgroup.warnings:
            pytest.skip(cgroup.warnings[0])
        programs = [exec_inside(tmp_path / "init.sock", ExecRequest(("sleep", "60"))) for _ in range(10)]
        refused = [program for program in programs if select.select([program.connection], [], [], 0.5)[0]]
        assert 2 <= len(refused) < 10
        for program in refused:
            with pytest.raises(ContainerError, match="temporarily unavailable"):
                program.ended()
        assert [] == select.select([container.pidfd], [], [], 0)[0]
        for program in programs:
            program.__exit__()


def test_many_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        programs = [exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", f"exit {n}"))) for n in range(20)]
        assert [ProcessExit(n, None) for n in range(20)] == [outcome(program) for program in programs]
        for program in programs:
            program.__exit__()


def test_an_adopted_container_can_be_entered(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        adopted = adopt(tmp_path / "init.sock", tmp_path / "exit.json")
        try:
            assert "hello\n" == result(tmp_path, "echo", "hello")[1]
        finally:
            adopted.close()


def test_the_programs_own_terminal_is_typed_into_by_whoever_comes(tmp_path: Path) -> None:
    """Its output goes to who follows it, also to one who takes the container over."""
    spec = make_spec(tmp_path, "sh", "-c", "tty; stty size; read a; read b; echo $a $b; exit 6", terminal=(33, 101))
    record, init_socket = tmp_path / "exit.json", tmp_path / "init.sock"
    container = lifecycle.create(spec, exit_record=record, init_socket=init_socket)
    try:
        lifecycle.start(container)
        assert b"/dev/pts/0\r\n33 101\r\n" == read_until(container.stdout_fd, b"101\r\n")
        type_into(init_socket, b"one\n")
        assert b"one\r\n" == read_until(container.stdout_fd, b"one\r\n")
        follower = adopt(init_socket, record)
        type_into(init_socket, b"two\n")
        assert b"two\r\none two\r\n" == read_all(follower.stdout_fd)
        follower.close()
        assert ProcessExit(6, None) == lifecycle.wait(container, timeout_s=20)
    finally:
        lifecycle.kill(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)


def test_a_program_on_pipes_has_no_terminal_to_give(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")), pytest.raises(ContainerError, match="gave no terminal"):
        program_terminal(tmp_path / "init.sock")


def test_a_caller_that_leaves_at_once_does_not_hang_up_on_the_run(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")) as container:
        for _ in range(30):
            exec_inside(tmp_path / "init.sock", ExecRequest(("sleep", "60"))).__exit__()
        assert [] == select.select([container.pidfd], [], [], 1.0)[0]


def test_a_user_that_nobody_can_be_is_refused_in_words(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60")):
        with exec_inside(tmp_path / "init.sock", ExecRequest(("true",), user="70000")) as program:
            assert select.select([program.connection], [], [], 20)[0]
            with pytest.raises(ContainerError, match="only ids below 65536 are mapped"):
                program.ended()


def test_a_container_with_one_id_gives_terminals_and_no_other_user(tmp_path: Path) -> None:
    with running(make_spec(tmp_path, "sleep", "60"), kinds=(IdMapKind.SINGLE,)):
        with exec_inside(tmp_path / "init.sock", ExecRequest(("sh", "-c", "tty; id -u"), terminal=(24, 80))) as program:
            assert read_all(program.stdout).split() == [b"/dev/pts/0", b"0"]
        with exec_inside(tmp_path / "init.sock", ExecRequest(("true",), user="5")) as program:
            assert select.select([program.connection], [], [], 20)[0]
            with pytest.raises(ContainerError, match="this container has one id only"):
                program.ended()


def test_a_hang_up_that_comes_before_the_exec_is_not_lost(tmp_path: Path) -> None:
    """From its fork on, a program that somebody starts can be hung up: also while it is a copy of init, which ignores that."""
    with running(make_spec(tmp_path, "sleep", "60")):
        for number in range(30):
            terminal = (24, 80) if number % 2 else None
            with exec_inside(tmp_path / "init.sock", ExecRequest(("sleep", "4322"), terminal=terminal)):
                time.sleep(number / 10_000)
        deadline = time.monotonic() + 10
        while "4322" in result(tmp_path, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
