"""User namespaces are made with the help of children that only sleep, and not for long, whatever happens to their maker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from ctypes import Array, addressof, c_char
from pathlib import Path

import pytest

from runtime.kernel import id_maps, libc, namespaces

pytestmark = pytest.mark.requires("userns")


def test_what_a_killed_maker_leaves_asleep_does_not_sleep_for_ever() -> None:
    reader, writer = os.pipe()
    maker = os.fork()
    if maker == 0:

        def killed_in_between(sleeper: int) -> None:
            os.write(writer, str(sleeper).encode())
            os.kill(os.getpid(), signal.SIGKILL)

        namespaces._make([killed_in_between])
        os._exit(1)
    assert signal.SIGKILL == os.WTERMSIG(os.waitpid(maker, 0)[1])
    sleeper = int(os.read(reader, 20))
    where = Path(f"/proc/{sleeper}/wchan").read_text()  # 0: the kernel doesn't tell
    os.kill(sleeper, signal.SIGKILL)
    assert "nanosleep" in where or where == "0"
    os.close(reader)
    os.close(writer)


def test_a_namespace_outlives_the_child_that_held_it() -> None:
    fd = namespaces.make_user_namespace(id_maps.single(os.geteuid(), os.getegid()))
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("user:[")
    os.close(fd)


def test_namespaces_made_at_once_have_children_that_share_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """As threads make them. On one stack the second's first call went to what the first, not asleep yet, had put there: a crash,
    and with it a /proc/PID/setgroups that is root's."""
    stacks: list[int] = []
    monkeypatch.setattr(libc, "sleeper", _noting(stacks, libc.sleeper))
    maps = id_maps.single(os.geteuid(), os.getegid())

    def make_another(sleeper: int) -> None:
        namespaces.write_maps(sleeper, maps)
        os.close(namespaces.make_user_namespace(maps))

    (made,), killed = namespaces._make([make_another])
    os.close(made)
    os.close(namespaces.make_user_namespace(maps))  # the first one is killed, and perhaps not dead
    namespaces.reap(killed)
    first, second, third = stacks
    assert first not in (second, third)


def _noting(stacks: list[int], sleeper: Callable[..., int]) -> Callable[..., int]:
    def noted(flags: int, stack: Array[c_char]) -> int:
        stacks.append(addressof(stack))
        return sleeper(flags, stack)

    return noted
