"""What is made of a GPU's facts: trouble, a warning, or nothing. A healthy GPU with one thing changed."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.gpu.nvidia.health import is_counted, judge

WELL: dict[str, Any] = {
    "index": 3,
    "brand": "NVIDIA",
    "codes": [3],
    "ecc": [1, 1],
    "ecc_uncorrected": 0,
    "remapped": [0, 0, 0, 0],
    "retired_pending": None,
    "recovery": 0,
    "clock_reasons": 1,
    "compute_mode": 0,
    "fabric": None,
    "pcie_width": [16, 16],
}


def fabric(state: int = 3, *, status: int = 0, mask: int = 0, summary: int = 1) -> dict[str, int]:
    return {"state": state, "status": status, "mask": mask, "summary": summary}


def test_a_healthy_gpu_has_nothing_to_say() -> None:
    assert (None, ()) == judge(WELL)
    assert (None, ()) == judge({**WELL, "fabric": fabric()})


def test_a_gpu_that_tells_nothing_of_its_health_is_not_ill() -> None:
    assert (None, ()) == judge({"index": 0})


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param({"codes": [3, 15]}, "lost", id="fell off the bus in the middle of a reading"),
        pytest.param({"codes": [16]}, "must be reset", id="a call wants a reset"),
        pytest.param({"recovery": 1}, "asks for a reset", id="the driver wants a reset"),
        pytest.param({"recovery": 2}, "asks for a reboot", id="the driver wants a reboot"),
        pytest.param({"remapped": [0, 1, 0, 1]}, "could not be replaced", id="a row that could not be remapped"),
        pytest.param({"fabric": fabric(2)}, "still being set up: CUDA would fail with error 802", id="fabric in progress"),
        pytest.param({"fabric": fabric(1)}, "has not started", id="fabric not started"),
        pytest.param({"mig_enabled": True, "mig": []}, "has no slices", id="MIG mode without slices"),
        pytest.param({"compute_mode": 2}, "nvidia-smi -i 3 -c DEFAULT", id="compute mode prohibited"),
    ],
)
def test_trouble_keeps_a_gpu_from_being_used(facts: dict[str, Any], words: str) -> None:
    trouble, _ = judge({**WELL, **facts})
    assert words in str(trouble)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param({"ecc": [0, 0]}, "ECC is off", id="ECC off"),
        pytest.param({"ecc": [1, 0]}, "ECC will be off after the next reboot", id="ECC changes"),
        pytest.param({"ecc_uncorrected": 2}, "2 memory errors could not be corrected", id="uncorrected errors"),
        pytest.param({"remapped": [0, 1, 1, 0]}, "replaced with the next reset", id="remap pending"),
        pytest.param({"retired_pending": 1}, "retired with the next reboot", id="page retirement pending"),
        pytest.param({"recovery": 4}, "a reset when its work is done", id="drain and reset"),
        pytest.param({"clock_reasons": 0x20}, "too hot for its full speed", id="software thermal slowdown"),
        pytest.param({"clock_reasons": 0x48}, "hardware thermal slowdown", id="hardware thermal slowdown"),
        pytest.param({"clock_reasons": 0x80}, "power brake", id="power brake"),
        pytest.param({"fabric": fabric(3, status=999)}, "with error 999", id="fabric failed"),
        pytest.param({"fabric": fabric(mask=1)}, "less than its full bandwidth", id="fabric degraded"),
        pytest.param({"fabric": fabric(summary=2)}, "fabric is unhealthy", id="fabric unhealthy"),
        pytest.param({"compute_mode": 3}, "one process use it at a time", id="exclusive process"),
        pytest.param({"mig_enabled": True, "mig_pending": False, "mig": [{}]}, "leaves MIG mode", id="MIG mode ends"),
        pytest.param({"pcie_width": [4, 16]}, "PCIe runs 4 lanes of 16", id="narrow PCIe"),
    ],
)
def test_a_warning_leaves_a_gpu_usable(facts: dict[str, Any], words: str) -> None:
    trouble, warnings = judge({**WELL, **facts})
    assert trouble is None
    assert [True] == [words in warning for warning in warnings]


@pytest.mark.parametrize(
    "reasons", [pytest.param(1, id="idle"), pytest.param(2, id="chosen clocks"), pytest.param(4, id="power cap")]
)
def test_ordinary_reasons_for_low_clocks_are_not_warnings(reasons: int) -> None:
    assert (None, ()) == judge({**WELL, "clock_reasons": reasons})


def test_a_gaming_card_is_expected_to_have_its_ecc_off() -> None:
    assert (None, ()) == judge({**WELL, "brand": "GeForce", "ecc": [0, 0]})


@pytest.mark.parametrize("state", [pytest.param(0, id="not supported"), pytest.param(2, id="in progress")])
def test_of_a_fabric_that_is_not_completed_neither_status_nor_health_counts(state: int) -> None:
    """nvml.h: "Must be checked only if state returned is complete"; before that there is whatever was in memory."""
    _, warnings = judge({**WELL, "fabric": fabric(state, status=999, mask=1, summary=2)})
    assert () == warnings


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, True, id="well"),
        pytest.param({"compute_mode": 2}, True, id="compute mode prohibited"),
        pytest.param({"remapped": [0, 1, 0, 1]}, True, id="a bad row"),
        pytest.param({"fabric": fabric(2)}, True, id="fabric in progress"),
        pytest.param({"has_handle": False, "codes": [4]}, False, id="no permission"),
        pytest.param({"mig_enabled": True, "mig": []}, False, id="MIG mode without slices"),
        pytest.param({"codes": [15]}, None, id="lost"),
        pytest.param({"recovery": 1}, None, id="waits for a reset"),
        pytest.param({"has_handle": False, "codes": [19]}, None, id="held by another client"),
    ],
)
def test_cuda_counts_sick_gpus_that_it_can_open(facts: dict[str, Any], expected: bool | None) -> None:
    assert expected is is_counted({**WELL, **facts})


def test_of_a_gpu_that_hangs_nobody_can_tell_whether_cuda_counts_it() -> None:
    assert is_counted({"index": 0, "trouble": "it hangs"}) is None
