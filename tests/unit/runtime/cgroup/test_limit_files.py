"""Resources as contents of cgroup files."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.cgroup.limit_files import v1_settings, v2_settings, weight_of_shares
from runtime.errors import ContainerError
from runtime.oci.resource_config import Resources, resources_from_json
from runtime.oci.runtime_config import config_from_json
from runtime.oci_runtime.process.sysctl import check_setting


def files(settings: Any) -> dict[str, str]:
    return {one.file: one.value for one in settings}


def resources(**parts: Any) -> Resources:
    return resources_from_json(parts)


def test_memory_and_swap_are_one_number_in_v1_and_two_in_v2() -> None:
    limited = resources(memory={"limit": 100, "swap": 150, "reservation": 50})
    expected = {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "150", "memory.soft_limit_in_bytes": "50"}
    assert expected == files(v1_settings(limited))
    assert {"memory.max": "100", "memory.swap.max": "50", "memory.low": "50"} == files(v2_settings(limited))


def test_unlimited_is_a_word_in_v2() -> None:
    assert {"memory.max": "max", "memory.swap.max": "max", "pids.max": "max"} == files(
        v2_settings(resources(memory={"limit": -1, "swap": -1}, pids={"limit": -1}))
    )


def test_less_swap_and_memory_than_memory_is_refused() -> None:
    with pytest.raises(ContainerError):
        v2_settings(resources(memory={"limit": 100, "swap": 50}))


def test_shares_become_a_weight() -> None:
    assert [1, 39, 10000] == [weight_of_shares(shares) for shares in (2, 1024, 262144)]


def test_processor_time_is_one_line_in_v2() -> None:
    limited = resources(cpu={"quota": 20000, "period": 50000, "cpus": "0-1"})
    assert {"cpu.max": "20000 50000", "cpuset.cpus": "0-1"} == files(v2_settings(limited))
    assert {"cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "20000", "cpuset.cpus": "0-1"} == files(v1_settings(limited))


def test_what_is_unified_comes_last_and_as_it_is() -> None:
    settings = v2_settings(resources(unified={"memory.high": "7"}, pids={"limit": 3}))
    assert [("pids", "pids.max", "3"), ("memory", "memory.high", "7")] == [
        (one.controller, one.file, one.value) for one in settings
    ]


def test_devices_are_throttled_by_number() -> None:
    throttled = resources(blockIO={"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]})
    assert {"blkio.throttle.read_bps_device": "8:0 5"} == files(v1_settings(throttled))
    assert {"io.max": "8:0 rbps=5"} == files(v2_settings(throttled))


@pytest.mark.parametrize(
    ("name", "namespaces", "fine"),
    [
        ("net.ipv4.ip_forward", ["network"], True),
        ("net.ipv4.ip_forward", [], False),
        ("kernel.msgmax", ["ipc"], True),
        ("fs.mqueue.queues_max", ["ipc"], True),
        ("kernel.msgmax", ["network"], False),
        ("kernel.domainname", ["uts"], True),
        ("kernel.hostname", ["uts"], False),
        ("kernel.core_pattern", ["ipc", "uts", "network"], False),
        ("net/../kernel/core_pattern", ["network"], False),
    ],
)
def test_a_parameter_of_the_whole_machine_is_not_the_containers(name: str, namespaces: list[str], fine: bool) -> None:
    config = config_from_json({"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": kind} for kind in namespaces]}})
    if fine:
        check_setting(name, "1", config)
        return
    with pytest.raises(ContainerError):
        check_setting(name, "1", config)
