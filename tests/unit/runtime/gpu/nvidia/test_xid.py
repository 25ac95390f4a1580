"""Which Xids are the program's doing, and which are held against the GPU."""

from __future__ import annotations

import pytest

from runtime.gpu.nvidia.xid import meaning, sentence


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 68, 109])
def test_what_a_program_causes_is_not_held_against_the_gpu(xid: int) -> None:
    assert meaning(xid).by_program
    assert not meaning(xid).spoils
    assert "an error of the program's" in sentence(xid, "GPU 0")


@pytest.mark.parametrize("xid", [48, 79, 94, 95, 119])
def test_after_an_error_of_the_hardware_the_program_cannot_go_on(xid: int) -> None:
    assert meaning(xid).spoils
    assert "reset or reboot" in sentence(xid, "GPU 0")


def test_only_a_gpu_off_the_bus_is_given_up_at_once() -> None:
    assert [79] == [xid for xid in range(1, 200) if meaning(xid).lost]


def test_an_unknown_number_is_the_hardwares() -> None:
    assert not meaning(999).by_program
    assert "Xid 999" in sentence(999, "its GPU (GPU-a)")
