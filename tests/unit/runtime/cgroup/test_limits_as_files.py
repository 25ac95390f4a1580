"""Limits as the contents of files, v1 and v2."""

from __future__ import annotations

import errno

from runtime.cgroup.control_file import Setting, apply_settings
from runtime.cgroup.limit_files import v1_settings, v2_settings
from runtime.cgroup.limits import Limits
from runtime.cgroup.own_cgroups import resources_of

LIMITS = Limits(memory_bytes=1 << 30, cpus=1.5, pids=100)


def v1_files(limits: Limits) -> list[Setting]:
    return v1_settings(resources_of(limits))


def v2_files(limits: Limits) -> list[Setting]:
    return v2_settings(resources_of(limits))


def written(settings: list[Setting]) -> dict[str, str]:
    return {setting.file: setting.value for setting in settings}


def test_v1_limits_memory_before_memory_and_swap():
    """The kernel refuses a memory limit above that of memory and swap."""
    assert ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] == list(written(v1_files(LIMITS)))[:2]
    assert "1073741824" == written(v1_files(LIMITS))["memory.memsw.limit_in_bytes"]


def test_v1_processor_time_is_a_quota_of_a_period():
    assert {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}.items() <= written(v1_files(LIMITS)).items()


def test_v2_files():
    expected = {"memory.max": "1073741824", "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "100"}
    assert expected == written(v2_files(LIMITS))


def test_a_tiny_share_of_a_processor_is_rounded_up_to_what_the_kernel_takes():
    assert "1000 100000" == written(v2_files(Limits(cpus=0.001)))["cpu.max"]


def test_no_limit_writes_nothing():
    nothing = Limits(memory_bytes=None, cpus=None, pids=None)
    assert [] == v1_files(nothing) == v2_files(nothing)


def test_a_file_that_may_be_missing_is_no_failure(tmp_path):
    (tmp_path / "memory.max").touch()
    assert {} == apply_settings(v2_files(Limits(memory_bytes=1, pids=None)), {"memory": tmp_path})
    assert "1" == (tmp_path / "memory.max").read_text()


def test_a_missing_file_that_must_be_there_is_named(tmp_path):
    failed = apply_settings(v2_files(Limits(cpus=1, pids=None)), {"cpu": tmp_path})
    assert errno.ENOENT == failed["cpu"].errno
    assert str(tmp_path / "cpu.max") == failed["cpu"].filename


def test_a_controller_that_is_not_there_is_reported_without_an_error():
    assert {"pids": None} == apply_settings(v2_files(Limits()), {})
