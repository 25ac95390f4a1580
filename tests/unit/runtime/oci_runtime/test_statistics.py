"""What `events` says, out of the files of a cgroup as each version has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.cgroup.cgroup import Cgroup
from runtime.oci_runtime.cgroups.statistics import statistics
from runtime.oci_runtime.command_line import UsageError
from runtime.oci_runtime.commands import events

V2 = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7",
    "memory.current": "4096",
    "memory.peak": "8192",
    "memory.max": "max",
    "memory.stat": "anon 1000\nfile 2000",
    "memory.events": "low 0\noom 1\noom_kill 3",
    "pids.current": "2",
    "pids.max": "max",
    "io.stat": "8:0 rbytes=512 wbytes=1024 rios=1 wios=2 dbytes=0 dios=0",
}
V1 = {
    "cpuacct.usage": "1500000",
    "cpuacct.usage_percpu": "1000000 500000",
    "cpuacct.usage_sys": "500000",
    "cpuacct.usage_user": "1000000",
    "cpu.stat": "nr_periods 4\nnr_throttled 2\nthrottled_time 7000",
    "memory.usage_in_bytes": "4096",
    "memory.max_usage_in_bytes": "8192",
    "memory.limit_in_bytes": "1048576",
    "memory.failcnt": "0",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    "memory.stat": "cache 2000\nrss 1000",
    "pids.current": "2",
    "pids.max": "100",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 512\n8:0 Write 1024\n8:0 Total 1536\nTotal 1536",
}
BYTES = [{"major": 8, "minor": 0, "op": "Read", "value": 512}, {"major": 8, "minor": 0, "op": "Write", "value": 1024}]


def written(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (directory / name).write_text(content + "\n")
    return directory


def test_both_versions_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    v1 = written(tmp_path / "v1", V1)
    ones = Cgroup("x", dict.fromkeys(("cpuacct", "cpu", "memory", "pids", "blkio"), v1))
    unified = Cgroup("x", {}, written(tmp_path / "v2", V2))
    for cgroup in (ones, unified):
        seen = statistics(cgroup)
        assert (1_500_000, 500_000, 1_000_000) == tuple(seen["cpu"]["usage"][name] for name in ("total", "kernel", "user"))
        assert {"periods": 4, "throttledPeriods": 2, "throttledTime": 7000} == seen["cpu"]["throttling"]
        assert (4096, 8192) == (seen["memory"]["usage"]["usage"], seen["memory"]["usage"]["max"])
        assert 2000 == seen["memory"]["cache"]
        counted = [one for one in seen["blkio"]["ioServiceBytesRecursive"] if one["op"] != "Total"]
        assert BYTES == counted
    assert {"current": 2} == statistics(unified)["pids"]
    assert {"current": 2, "limit": 100} == statistics(ones)["pids"]
    assert (1 << 64) - 1 == statistics(unified)["memory"]["usage"]["limit"]


def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert {} == statistics(Cgroup("x"))
    assert {"cpu": {"usage": {}}} == statistics(Cgroup("x", {}, tmp_path))


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5.0), ("500ms", 0.5), ("1m", 60.0), ("2", 2.0), ("1.5s", 1.5)])
def test_intervals_are_written_as_for_runc(text: str, seconds: float) -> None:
    assert seconds == events._seconds(text)


@pytest.mark.parametrize("text", ["", "0s", "-1s", "5 s", "soon"])
def test_an_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--interval"):
        events._seconds(text)
