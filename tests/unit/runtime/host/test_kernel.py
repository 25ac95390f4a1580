"""The kernel's age, pressure, and what covers /proc."""

from __future__ import annotations

import pytest

from runtime.host import kernel


@pytest.mark.parametrize(
    ("release", "ok"),
    [
        ("5.15.0-91-generic", True),
        ("6.12.118+deb13-cloud-amd64", True),
        ("10.0.0", True),
        ("5.14.0-503.el9", False),
        ("4.18.0", False),
    ],
)
def test_the_oldest_kernel(machine, release, ok):
    found = kernel.version(machine({"/proc/sys/kernel/osrelease": f"{release}\n"}))
    assert ok == found.ok
    assert release in found.detail
    assert ok or "Linux 5.15 or later is needed" in found.advice


def test_pressure_that_is_measured(machine):
    assert kernel.pressure(machine({"/proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"})).ok


def test_pressure_that_was_switched_off_is_a_word_of_the_kernels_command_line(machine):
    files = {"/proc/sys/kernel/osrelease": "6.1.0", "/boot/config-6.1.0": "CONFIG_PSI=y\nCONFIG_PSI_DEFAULT_DISABLED=y\n"}
    found = kernel.pressure(machine(files, programs=("grubby",)))
    assert (False, "sudo grubby --update-kernel=ALL --args=psi=1") == (found.ok, found.command)


def test_a_kernel_without_pressure_has_no_command(machine):
    assert "" == kernel.pressure(machine()).command


def test_what_lies_over_proc(machine):
    lines = (
        "22 28 0:21 / /proc rw,nosuid - proc proc rw\n"
        "40 22 0:5 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw\n"
        "41 22 0:40 / /proc/acpi ro - tmpfs tmpfs ro\n"
        "42 28 0:41 / /processed rw - tmpfs tmpfs rw\n"
    )
    assert ["/proc/kcore", "/proc/acpi"] == kernel.covered_below_proc(machine({"/proc/self/mountinfo": lines}))
