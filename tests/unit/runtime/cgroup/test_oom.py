"""Who ran out of memory when the kernel killed a process of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.cgroup.oom import OomKills, explain_oom_kills, kills_on_this_machine, oom_kills

MIB = 1 << 20


def v2(directory: Path, *, limit: str = "max", ran_out: int = 0, killed: int = 0, below: int = 0) -> Path:
    """*ran_out* times at its own limit; *below*: so often did a cgroup below it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(f"{limit}\n")
    (directory / "memory.events").write_text(f"low 0\nmax 7\noom {ran_out + below}\noom_kill {killed}\noom_group_kill 0\n")
    (directory / "memory.events.local").write_text(f"low 0\nmax 7\noom {ran_out}\noom_kill {killed}\n")
    return directory


def v1(directory: Path, *, limit: int, peak: int, killed: int = 0) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (directory / "memory.max_usage_in_bytes").write_text(f"{peak}\n")
    (directory / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {killed}\n")
    (directory / "memory.failcnt").write_text("0\n")
    return directory


def test_nobody_was_killed(tmp_path):
    assert explain_oom_kills(v2(tmp_path, limit="100")) is None
    assert explain_oom_kills(None) is None
    assert 0 == oom_kills(tmp_path / "none")


def test_at_its_own_limit(tmp_path):
    own = v2(tmp_path / "own", limit=str(64 * MIB), ran_out=1, killed=2)
    assert OomKills(2, limit_bytes=64 * MIB, cgroup=own) == explain_oom_kills(own)


def test_at_the_limit_of_the_job_around_it(tmp_path):
    """Slurm's or Kubernetes' limit; that our own cgroup has one, too, is not to blame."""
    job = v2(tmp_path / "job", limit=str(128 * MIB), ran_out=1, killed=1)
    own = v2(job / "step" / "own", limit=str(64 * MIB), killed=1)
    v2(job / "step", killed=1)
    assert OomKills(1, own=False, limit_bytes=128 * MIB, cgroup=job) == explain_oom_kills(own)


def test_another_container_that_ran_out_is_not_taken_for_the_job(tmp_path):
    """`memory.events` of the job counts those below it; the local file does not."""
    job = v2(tmp_path / "job", limit=str(128 * MIB), below=3, killed=1)
    assert OomKills(1, own=False) == explain_oom_kills(v2(job / "own", limit=str(64 * MIB), killed=1))


def test_on_a_machine_without_memory(tmp_path):
    assert OomKills(1, own=False) == explain_oom_kills(v2(tmp_path / "own", killed=1))


@pytest.mark.parametrize(("peak", "expected"), [(64 * MIB, True), (63 * MIB, True), (20 * MIB, False)])
def test_v1_blames_the_limit_that_the_peak_came_up_to(tmp_path, peak, expected):
    killed = explain_oom_kills(v1(tmp_path / "own", limit=64 * MIB, peak=peak, killed=1))
    assert killed is not None
    assert expected == killed.own


def test_v1_without_a_limit_has_the_largest_number_of_pages(tmp_path):
    own = v1(tmp_path / "own", limit=9223372036854771712, peak=20 * MIB, killed=1)
    assert OomKills(1, own=False) == explain_oom_kills(own)


def test_the_machine_counts_its_kills(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    assert 3 == kills_on_this_machine(tmp_path / "vmstat")
    assert kills_on_this_machine() is not None
