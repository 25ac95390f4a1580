"""User namespaces are made with the help of children that only sleep. Whatever happens to their maker, none of them stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from runtime.kernel import id_maps, namespaces

pytestmark = pytest.mark.requires("userns")


def test_a_killed_maker_leaves_no_sleeping_child() -> None:
    reader, writer = os.pipe()
    maker = os.fork()
    if maker == 0:

        def killed_in_between(sleeper: int) -> None:
            os.write(writer, str(sleeper).encode())
            os.kill(os.getpid(), signal.SIGKILL)

        namespaces._made([killed_in_between])
        os._exit(1)
    assert signal.SIGKILL == os.WTERMSIG(os.waitpid(maker, 0)[1])
    sleeper = Path(f"/proc/{os.read(reader, 20).decode()}")
    deadline = time.monotonic() + 5
    while sleeper.exists() and "State:\tZ" not in (sleeper / "status").read_text():
        assert time.monotonic() < deadline, f"{sleeper} sleeps on"
        time.sleep(0.01)
    os.close(reader)
    os.close(writer)


def test_a_namespace_outlives_the_child_that_held_it() -> None:
    fd = namespaces.user_namespace(id_maps.single(os.geteuid(), os.getegid()))
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("user:[")
    os.close(fd)
