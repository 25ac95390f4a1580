"""Children that do one piece of work, and descriptors that are closed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runtime.kernel import processes


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_ends_with_what_its_work_returns() -> None:
    assert 7 == _exit_code(processes.run_in_child(lambda: 7))
    assert 0 == _exit_code(processes.run_in_child(lambda: None))


def test_what_the_work_raises_is_said_and_never_reaches_the_caller_s_frames(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("broken")

    assert 3 == _exit_code(processes.run_in_child(fail, failed=3))
    assert "ValueError: broken" in capfd.readouterr().err


def test_the_answer_of_a_child_comes_whole_and_is_empty_when_it_was_killed() -> None:
    answer = b"x" * 300_000  # more than a pipe holds
    assert answer == processes.answer_of_child(lambda: answer)
    assert b"" == processes.answer_of_child(lambda: (os.kill(os.getpid(), 9), b"late")[1])


def test_all_descriptors_but_the_kept_ones_are_closed() -> None:
    kept, other = (os.open(os.devnull, os.O_RDONLY) for _ in range(2))

    def look() -> int:
        processes.close_fds(keep=(kept,))
        return 0 if set(os.listdir("/proc/self/fd")) & {"0", "1", "2", str(kept), str(other)} == {"0", "1", "2", str(kept)} else 1

    try:
        assert 0 == _exit_code(processes.run_in_child(look))
    finally:
        os.close(kept)
        os.close(other)


def test_helpers_are_waited_for_and_what_they_raise_is_lost(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("full")

    with processes.helped_by((tmp_path / "made").touch, fail):
        pass
    assert (tmp_path / "made").exists()


def test_helpers_are_killed_where_the_body_fails(tmp_path: Path) -> None:
    def work() -> None:
        time.sleep(600)
        (tmp_path / "made").touch()

    with pytest.raises(KeyError), processes.helped_by(work):
        raise KeyError
    assert not (tmp_path / "made").exists()
