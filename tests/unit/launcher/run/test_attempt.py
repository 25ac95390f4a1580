"""What init saw, what the cgroup counted and what the kernel did become one ending."""

from __future__ import annotations

from pathlib import Path

from launcher.journal.status import Reason
from launcher.run.supervisor.attempt import AttemptResult, end_of
from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.oom import kills_on_this_machine
from runtime.container.spec import ProcessExit

WITHOUT = Cgroup("launch-1")
"""Of an ordinary user on cgroup version 1."""


def memory_cgroup(directory: Path, *, killed: int) -> Cgroup:
    (directory / "memory.max").write_text("1073741824\n")
    (directory / "memory.current").write_text("4096\n")
    (directory / "memory.peak").write_text("1073741824\n")
    (directory / "memory.events").write_text(f"oom {killed}\noom_kill {killed}\n")
    return Cgroup("launch-1", {"memory": directory}, directory)


def test_without_a_cgroup_init_knows_the_largest_process_and_the_processor_time() -> None:
    attempt = end_of(AttemptResult(ProcessExit(0, None, peak_process_bytes=7, cpu_s=1.5), None), WITHOUT)
    assert (None, 7, 1.5) == (attempt.usage.peak_memory_bytes, attempt.usage.peak_process_bytes, attempt.usage.cpu_s)


def test_a_cgroup_knows_better_and_says_whose_limit_it_was(tmp_path: Path) -> None:
    attempt = end_of(
        AttemptResult(ProcessExit(1, None, peak_process_bytes=7, cpu_s=1.5), None), memory_cgroup(tmp_path, killed=1)
    )
    assert Reason.OOM is attempt.outcome.reason
    assert "1 of its processes was killed at the memory limit of 1 GiB; the peak of all was 1 GiB" == attempt.outcome.detail
    assert (1 << 30, 1) == (attempt.usage.peak_memory_bytes, attempt.usage.oom_kills)


def test_kills_of_the_machine_are_no_matter_where_a_cgroup_counts(tmp_path: Path) -> None:
    killed = AttemptResult(ProcessExit(None, 9), None)
    assert end_of(killed, memory_cgroup(tmp_path, killed=0), kills_before=-1).outcome.detail is None
    assert "the kernel killed" in (end_of(killed, WITHOUT, kills_before=(kills_on_this_machine() or 0) - 1).outcome.detail or "")
    assert end_of(killed, WITHOUT).outcome.detail is None
