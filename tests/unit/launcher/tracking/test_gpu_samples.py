"""Readings of GPUs as system metrics."""

from __future__ import annotations

from launcher.tracking.metrics.samples import gpu_metrics
from runtime.gpu.gpu import GpuLoad

BUSY = GpuLoad("GPU-a", busy_percent=93, used_bytes=40_000_000_000, memory_bytes=80_000_000_000, power_w=412.5)


def test_values_have_mlflows_names_by_their_place_in_the_lease() -> None:
    metrics = gpu_metrics([GpuLoad("GPU-z"), BUSY])
    assert {
        "gpu_1_utilization_percentage": 93,
        "gpu_1_memory_usage_megabytes": 40_000,
        "gpu_1_memory_usage_percentage": 50,
        "gpu_1_power_usage_watts": 412.5,
    } == metrics, "a GPU that tells nothing has no metrics"


def test_traffic_is_a_speed_between_two_readings() -> None:
    before = [GpuLoad("GPU-a", pcie_received_bytes=1e6, nvlink_sent_bytes=9e9)]
    now = [GpuLoad("GPU-a", pcie_received_bytes=21e6, nvlink_sent_bytes=1e9)]
    assert {"gpu_0_pcie_receive_megabytes_per_second": 2.0} == gpu_metrics(now, before, seconds=10), "the other began anew"


def test_energy_is_what_the_run_has_used_so_far() -> None:
    assert 0.5 == gpu_metrics([BUSY], energy_j=[1_800])["gpu_0_energy_watt_hours"]
