"""Device rules for v1 and for v2, the latter read by a small interpreter of eBPF."""

from __future__ import annotations

import struct

from runtime.oci.resource_config import DeviceRule
from runtime.oci_runtime.cgroups.device_rules import filter_program, v1_lines

DENY_ALL = DeviceRule(False, "a", None, None, "rwm")
FUSE = DeviceRule(True, "c", 10, 229, "rw")
BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4


def allowed(rules: list[DeviceRule], kind: int, access: int, major: int, minor: int) -> bool:
    program = filter_program(rules)
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers, position = [0] * 6, 0
    while True:
        code, packed, offset, value = struct.unpack_from("<BBhi", program, 8 * position)
        target, source = packed & 0xF, packed >> 4
        position += 1
        if code == 0x61:
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif code == 0x54:
            registers[target] &= value
        elif code == 0x74:
            registers[target] >>= value
        elif code == 0xB4:
            registers[target] = value
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code == 0x55:
            position += offset if registers[target] != value else 0
        elif code == 0x5D:
            position += offset if registers[target] != registers[source] else 0
        elif code == 0x15:
            position += offset if registers[target] == value else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"instruction {code:#x} is none of ours")


def test_what_is_denied_is_denied_and_every_container_has_its_null() -> None:
    assert not allowed([DENY_ALL], BLOCK, READ, 8, 0)
    assert allowed([DENY_ALL], CHARACTER, READ | WRITE, 1, 3)
    assert allowed([DENY_ALL], CHARACTER, READ | WRITE, 136, 7)


def test_anybody_may_make_a_node_that_nobody_may_open() -> None:
    assert allowed([DENY_ALL], BLOCK, MKNOD, 8, 0)


def test_the_last_rule_that_fits_decides() -> None:
    assert allowed([DENY_ALL, FUSE], CHARACTER, READ | WRITE, 10, 229)
    assert not allowed([FUSE, DENY_ALL], CHARACTER, READ, 10, 229)


def test_allowed_is_a_request_that_is_covered_whole_and_denied_one_that_is_touched() -> None:
    reading = DeviceRule(True, "b", 8, None, "r")
    assert allowed([DENY_ALL, reading], BLOCK, READ, 8, 1)
    assert not allowed([DENY_ALL, reading], BLOCK, READ | WRITE, 8, 1)
    no_writing = DeviceRule(False, "b", 8, None, "w")
    assert not allowed([no_writing], BLOCK, READ | WRITE, 8, 1)
    assert allowed([no_writing], BLOCK, READ, 8, 1)


def test_lines_of_v1_keep_the_order() -> None:
    assert [("devices.deny", "a"), ("devices.allow", "c 10:229 rw")] == v1_lines([DENY_ALL, FUSE])[:2]
