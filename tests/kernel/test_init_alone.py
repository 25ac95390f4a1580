"""The loop of a container's PID 1 without a container around it."""

from __future__ import annotations

import os

from runtime.container.handshake import channel
from runtime.container.inherited_fds import InheritedFds
from runtime.container.init import Init
from runtime.container.program import Program
from tests.kernel.forked import forked

_NOTHING = Program(
    ("true",), {}, "/", 0, 0, None, one_id=True, capabilities=0, seccomp=b"", seccomp_asking=None, open_files=(64, 64)
)


def test_a_child_that_ended_before_init_watched_is_no_zombie_for_the_length_of_the_run() -> None:
    """Who holds the layers' trees while they dissolve may be dead before init hears of the end of children."""

    def run_with_an_ended_child() -> bool:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        creators, own = channel()
        creators.close()  # and with it the wait at the gate
        assert 0 == Init(_NOTHING, InheritedFds("alone", own, None, -1, -1, None, None, ()), None, 1, 1.0).run()
        return os.path.exists(f"/proc/{child}")

    assert not forked(run_with_an_ended_child)
