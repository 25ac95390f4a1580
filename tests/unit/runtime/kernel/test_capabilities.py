"""Numbers and sets of capabilities (capability.h)."""

from __future__ import annotations

import pytest

from runtime.kernel.capabilities import BUILD_CAPABILITIES, NUMBERS, PROGRAM_CAPABILITIES, mask


@pytest.mark.parametrize(
    ("name", "number"),
    [("CAP_CHOWN", 0), ("CAP_SETUID", 7), ("CAP_NET_RAW", 13), ("CAP_SYS_ADMIN", 21), ("CAP_SETFCAP", 31), ("CAP_BPF", 39)],
)
def test_numbers_are_the_kernels(name, number):
    """linux/capability.h."""
    assert number == NUMBERS[name]


def test_a_mask_has_a_bit_for_each_name():
    assert len(BUILD_CAPABILITIES) == mask(BUILD_CAPABILITIES).bit_count()
    assert 0 == mask(())


def test_programs_get_nothing_that_reaches_the_kernel_or_the_bridge():
    refused = {
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_SYS_MODULE",
        "CAP_SYS_PTRACE",
        "CAP_DAC_READ_SEARCH",
        "CAP_BPF",
    }
    assert set() == refused & (PROGRAM_CAPABILITIES | BUILD_CAPABILITIES)


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        mask(["CAP_NONSENSE"])
