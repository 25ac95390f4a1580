"""Work in a forked child: what comes back, and what must not reach the caller."""

from __future__ import annotations

import os
import signal

import pytest

from runtime.errors import NetworkError
from runtime.network.forked_call import forked_call


def test_what_the_work_returns_comes_back():
    assert {"address": "10.0.0.2"} == forked_call(lambda: {"address": "10.0.0.2"}, doing="connecting")


def test_a_failure_names_what_was_done():
    def refuse() -> dict[str, str]:
        raise NetworkError("no address is free", hint="end a run")

    with pytest.raises(NetworkError, match="connecting failed: no address is free") as refused:
        forked_call(refuse, doing="connecting")
    assert "end a run" == refused.value.hint


def test_a_signal_between_processes_of_the_work_is_none_for_the_caller():
    """pyroute2 sends SIGTERM to its own child; a caller with a wake-up descriptor once took that for `launch stop`."""

    def signal_a_child() -> dict[str, str]:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os.write(writer, b"!")
            os._exit(0)
        os.read(reader, 1)
        os.waitpid(child, 0)
        return {"child": "went on"}

    inbox, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    wakeup = signal.set_wakeup_fd(write_end)
    try:
        os.set_blocking(inbox, False)
        assert {"child": "went on"} == forked_call(signal_a_child, doing="connecting")
        with pytest.raises(BlockingIOError):
            os.read(inbox, 1)
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, handler)
        os.close(inbox)
        os.close(write_end)
