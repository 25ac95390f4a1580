"""What a cgroup used, read from the files of v1 and v2."""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.usage import usage, waited_s


def fill(directory: Path, **files: str) -> Path:
    """*files*: names with `__` for the dot."""
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(content)
    return directory


def test_everything_that_v2_tells(tmp_path):
    one = fill(
        tmp_path,
        memory__current="4096\n",
        memory__peak="8192\n",
        memory__swap__peak="0\n",
        cpu__stat="usage_usec 1500000\nuser_usec 1000000\nthrottled_usec 250000\n",
        pids__peak="7\n",
        io__stat="8:0 rbytes=100 wbytes=20 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
        cpu__pressure="some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        memory__pressure="some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    )
    seen = usage(dict.fromkeys(("memory", "cpu", "pids", "io"), one), one)
    assert (4096, 8192, 0) == (seen.memory_bytes, seen.peak_memory_bytes, seen.peak_swap_bytes)
    assert (1.5, 0.25, 7) == (seen.cpu_s, seen.cpu_throttled_s, seen.peak_pids)
    assert (101, 22) == (seen.io_read_bytes, seen.io_written_bytes)
    assert (2.5, 0.0, None) == (seen.cpu_waited_s, seen.memory_waited_s, seen.io_waited_s)


def test_everything_that_v1_tells(tmp_path):
    one = fill(
        tmp_path,
        memory__usage_in_bytes="4096\n",
        memory__max_usage_in_bytes="8192\n",
        cpuacct__usage="1500000000\n",
        cpu__stat="nr_periods 3\nnr_throttled 1\nthrottled_time 250000000\n",
    )
    seen = usage(dict.fromkeys(("memory", "cpu", "cpuacct", "pids"), one), None)
    assert (4096, 8192, 1.5, 0.25) == (seen.memory_bytes, seen.peak_memory_bytes, seen.cpu_s, seen.cpu_throttled_s)
    assert (None, None, None) == (seen.peak_pids, seen.io_read_bytes, seen.cpu_waited_s)


def test_usage_of_v2_without_memory_peak(tmp_path):
    """`memory.peak` came with 5.19."""
    one = fill(tmp_path, memory__current="4096\n", cpu__stat="usage_usec 1500000\nuser_usec 1000000\n")
    seen = usage({"memory": one}, one)
    assert (None, 4096, 1.5, 0) == (seen.peak_memory_bytes, seen.memory_bytes, seen.cpu_s, seen.oom_kills)


def test_a_process_tree_that_read_nothing_has_no_lines_of_devices(tmp_path):
    seen = usage({"io": fill(tmp_path, io__stat="\n")}, tmp_path)
    assert (0, 0) == (seen.io_read_bytes, seen.io_written_bytes)


def test_pressure_that_the_kernel_does_not_measure_is_not_zero(tmp_path):
    """With `psi=0` the files are there and reading them is EOPNOTSUPP, which reads as nothing here."""
    assert {"io": 0.5} == waited_s(fill(tmp_path, cpu__pressure="", io__pressure="some avg10=0.00 total=500000\n"))
    assert {} == waited_s(None)
