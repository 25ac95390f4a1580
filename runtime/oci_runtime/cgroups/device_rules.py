"""Which devices the container may use (config-linux.md, "Allowed Device list").

Lines for v1's `devices` controller, a BPF program for v2 (linux/bpf.h, `struct bpf_cgroup_dev_ctx`).

The rules hold in their order, the last that fits decides, and what every container needs is allowed after them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import ContainerError
from runtime.kernel import libc
from runtime.oci.resource_config import DeviceRule

ALWAYS_ALLOWED = (
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    *(DeviceRule(True, "c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    *(DeviceRule(True, "c", 5, minor, "rwm") for minor in (0, 1, 2)),  # tty, console, ptmx
    DeviceRule(True, "c", 136, None, "rwm"),  # /dev/pts/*
)

_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI = 15, 6, 2
_KINDS = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}

# eBPF instructions (Documentation/bpf/standardization/instruction-set.rst): class, source and operation in one byte.
_LOAD_WORD, _AND, _SHIFT_RIGHT, _MOVE, _MOVE_REGISTER, _EXIT = 0x61, 0x54, 0x74, 0xB4, 0xBC, 0x95
_JUMP_NOT_EQUAL, _JUMP_NOT_EQUAL_REGISTER, _JUMP_EQUAL = 0x55, 0x5D, 0x15


def v1_lines(rules: Sequence[DeviceRule]) -> list[tuple[str, str]]:
    """(file, line) for each rule."""
    lines = []
    for rule in (*rules, *ALWAYS_ALLOWED):
        file = "devices.allow" if rule.allow else "devices.deny"
        if rule.kind == "a":
            lines.append((file, "a"))
            continue
        major, minor = ("*" if number is None else str(number) for number in (rule.major, rule.minor))
        lines.append((file, f"{rule.kind} {major}:{minor} {rule.access}"))
    return lines


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, target | source << 4, offset, value)


def filter_program(rules: Sequence[DeviceRule]) -> bytes:
    """The program: registers 2 to 5 hold kind, access, major and minor; it returns 1 to allow."""
    code = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_AND, 2, value=0xFFFF),
        _instruction(_LOAD_WORD, 3, 1, 0),
        _instruction(_SHIFT_RIGHT, 3, value=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed((*rules, *ALWAYS_ALLOWED)):
        code += _tests(rule)
        if rule.kind == "a":
            return b"".join(code)
    return b"".join((*code, _instruction(_MOVE, 0, value=1), _instruction(_EXIT)))


def _tests(rule: DeviceRule) -> list[bytes]:
    """Answer when the rule fits, else go on behind."""
    tests: list[tuple[int, int, int, int]] = []  # code, target, source, value; offset 0 = a jump to the end
    if rule.kind != "a":
        tests.append((_JUMP_NOT_EQUAL, 2, 0, _KINDS[rule.kind]))
        if set(rule.access) != set("rwm"):
            tests.append((_MOVE_REGISTER, 1, 3, 0))
            tests.append((_AND, 1, 0, sum(_ACCESSES[one] for one in set(rule.access))))
            # What is allowed must cover the whole request; what is denied, any part of it.
            tests.append((_JUMP_NOT_EQUAL_REGISTER, 1, 3, 0) if rule.allow else (_JUMP_EQUAL, 1, 0, 0))
        if rule.major is not None:
            tests.append((_JUMP_NOT_EQUAL, 4, 0, rule.major))
        if rule.minor is not None:
            tests.append((_JUMP_NOT_EQUAL, 5, 0, rule.minor))
    code = []
    for index, (operation, target, source, value) in enumerate(tests):
        jumps = operation in (_JUMP_NOT_EQUAL, _JUMP_NOT_EQUAL_REGISTER, _JUMP_EQUAL)
        offset = len(tests) - 1 - index + 2 if jumps else 0
        code.append(_instruction(operation, target, source, offset, value))
    return [*code, _instruction(_MOVE, 0, value=int(rule.allow)), _instruction(_EXIT)]


def attach_filter(directory: Path, rules: Sequence[DeviceRule]) -> None:
    """Attach the program to the v2 cgroup *directory*; it goes with it."""
    program = filter_program(rules)
    code, held = libc.address_of(program)
    licence, held_too = libc.address_of(b"GPL\0")
    # union bpf_attr: prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags
    attributes = struct.pack("IIQQIIQII", _CGROUP_DEVICE_PROGRAM, len(program) // 8, code, licence, 0, 0, 0, 0, 0)
    try:
        loaded = libc.bpf(_PROG_LOAD, attributes)
    except OSError as error:
        raise ContainerError(f"the kernel refuses the device filter: {error.strerror}") from error
    del held, held_too
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.bpf(_PROG_ATTACH, struct.pack("IIII", cgroup, loaded, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI))
    finally:
        os.close(cgroup)
        os.close(loaded)
