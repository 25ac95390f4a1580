"""Ranks that begin when a task of a job step comes for each, in real containers; the test plays the tasks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.container import lifecycle
from runtime.container.handshake import connect_socket, receive, send
from runtime.container.spec import ProcessExit
from tests.kernel.test_container_rootless import KINDS, as_user, home, kinds
from tests.kernel.userland import python_spec, run

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "overlayfs")

SPEAKS = """
import os, socket
manager = socket.socket(fileno=int(os.environ["PMI_FD"]))
manager.sendall(b"who am I?")
print(os.environ["RANK"], os.environ["PMI_RANK"], manager.recv(100).decode(), flush=True)
"""


class Box:
    """A container of two ranks that await their tasks."""

    def __init__(self, directory: Path, code: str) -> None:
        spec = python_spec(directory, code, processes=2, awaits_tasks=True, rank_grace_s=0.5)
        self.socket = directory / "init.sock"
        self.container = lifecycle.create(spec, exit_record=None, init_socket=self.socket)
        lifecycle.start(self.container)

    def task(self, rank: int) -> tuple[socket.socket, socket.socket]:
        """One that has come for *rank*; and its end of what the rank got."""
        ours, theirs = socket.socketpair()
        init = connect_socket(self.socket)
        said = {"rank": rank, "env": {"PMI_RANK": str(rank)}, "fd_variables": ["PMI_FD"], "if_silent": f"rank {rank} was alone"}
        send(init, {"task": said}, (theirs.fileno(),))
        theirs.close()
        return init, ours

    def ended(self) -> tuple[ProcessExit, str, str]:
        ended = lifecycle.wait(self.container)
        return ended, _rest_of(self.container.stdout_fd), _rest_of(self.container.stderr_fd)


def _rest_of(pipe: int) -> str:
    with open(pipe, closefd=False) as file:
        return file.read()


@contextmanager
def box(directory: Path, code: str) -> Iterator[Box]:
    made = Box(directory, code)
    try:
        yield made
    finally:
        lifecycle.kill(made.container)
        lifecycle.wait(made.container)
        made.container.close()
        lifecycle.remove_overlay(directory / "overlay")


def heard(init: socket.socket) -> dict[str, Any]:
    message = receive(init)
    assert message is not None
    return message[0]["ended"]


def test_each_rank_gets_what_its_task_brought_and_the_task_hears_of_its_end(tmp_path: Path) -> None:
    with box(tmp_path, SPEAKS) as made:
        tasks = [made.task(rank) for rank in (1, 0)]
        for init, manager in tasks:
            assert b"who am I?" == manager.recv(100)
            send(init, {"task": {"spoke": True}})
            manager.sendall(b"a rank")
        assert [{"code": 0, "signal": None}] * 2 == [heard(init) for init, _ in tasks]
        ended, stdout, stderr = made.ended()
        assert (ProcessExit(0, None), ["0 0 a rank", "1 1 a rank"], "") == (ended, sorted(stdout.splitlines()), stderr)


def test_a_rank_that_ends_well_without_a_word_to_its_manager_has_failed(tmp_path: Path) -> None:
    with box(tmp_path, "print('a world of one')") as made:
        tasks = [made.task(rank) for rank in (0, 1)]
        ended, _stdout, stderr = made.ended()
        assert 125 == ended.code
        assert "was alone" in stderr
        assert {"code": 125, "signal": None} in [heard(init) for init, _ in tasks]


def test_tasks_that_do_not_come_are_a_failure_with_their_cluster_s_words(tmp_path: Path) -> None:
    with box(tmp_path, SPEAKS) as made:
        with connect_socket(made.socket) as watcher:
            send(watcher, {"task": {"refused": "`srun`: no such plugin"}})
        assert (ProcessExit(125, None), "", "launch: `srun`: no such plugin\n") == made.ended()


def test_a_rank_whose_task_is_gone_ends_and_so_do_all(tmp_path: Path) -> None:
    with box(tmp_path, "import time; time.sleep(600)") as made:
        tasks = [made.task(rank) for rank in (0, 1)]
        tasks[1][0].close()
        ended, _stdout, stderr = made.ended()
        assert (ProcessExit(125, None), "launch: the cluster has ended the task of rank 1 of this node\n") == (ended, stderr)


def test_a_rank_that_ends_by_itself_once_its_task_is_gone_has_the_last_word(tmp_path: Path) -> None:
    """As after MPI_Abort: its cluster kills the step."""
    code = """
import os, socket, sys
manager = socket.socket(fileno=int(os.environ["PMI_FD"]))
manager.send(b".")
sys.exit(3 + len(manager.recv(1)))
"""
    with box(tmp_path, code) as made:
        tasks = [made.task(rank) for rank in (0, 1)]
        for _init, manager in tasks:
            assert b"." == manager.recv(1)
        for init, manager in tasks:
            init.close()
            manager.close()
        assert ProcessExit(3, None) == made.ended()[0]


def test_a_stop_ends_ranks_whose_tasks_have_not_come(tmp_path: Path) -> None:
    with box(tmp_path, SPEAKS) as made:
        lifecycle.signal(made.container, 15)
        assert (ProcessExit(None, 15), "", "") == made.ended()


SEES = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
answer = [os.geteuid(), os.getegid(), open("/proc/self/uid_map").read().split()]
answer += [status["CapEff"].strip(), status["CapBnd"].strip()]
with open("/home/user/file", "w") as file:
    file.write("mine")
answer.append(os.stat("/home/user/file").st_uid)
"""


@pytest.mark.requires("ordinary-user", "overlay-userns", "proc")
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_sees_itself_as_who_started_it(home: Path, kind: str) -> None:
    """What a server outside takes it for is what it says that it is (`psec_native.c` of PMIx)."""
    code = f"answer = inside(home, {SEES!r}, seen_as=(os.geteuid(), os.getegid()), {kinds(kind)}) + [os.geteuid(), os.getegid()]"
    uid, gid, uid_map, effective, bounding, owner, *outside = as_user(home, code)
    assert outside == [uid, gid]
    assert [str(uid), "0", "1"] == uid_map
    assert ("0" * 16, uid) == (effective, owner)
    assert int(bounding, 16) < 1 << 32


def test_a_program_of_another_user_sees_itself_as_that_too(tmp_path: Path) -> None:
    spec = python_spec(tmp_path, "import os; print(os.getuid(), os.getgid())", uid=1000, gid=1000, seen_as=(4321, 8765))
    assert "4321 8765\n" == run(spec)[1]
