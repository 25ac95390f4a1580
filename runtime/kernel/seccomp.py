"""Seccomp filters as classic BPF programs (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).

`program_bytes` makes the bytes of a `struct sock_filter[]`; installing them is `libc.py`'s. The policy is `seccomp_profile.py`.

The number is looked up in a binary tree over ranges of numbers with the same answer, eight comparisons at most. Calls that are
always allowed read nothing but the number, so the kernel's per-call cache (5.11) skips the program for them. Calls newer than
our table answer ENOSYS and not EPERM, so that a libc falls back instead of failing (as runc does).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from runtime.errors import Unsupported
from runtime.kernel import seccomp_profile as profile
from runtime.kernel.syscall_numbers import syscall_numbers

AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# struct seccomp_data: nr at 0, arch at 4, instruction_pointer at 8, args[6] of 64 bits from 16. Both architectures are
# little-endian; the arguments below are ints in the kernel, which reads the low half only.
_OFFSET_NR = 0
_OFFSET_ARCH = 4

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_GREATER_EQUAL = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_USER_NOTIFICATION = 0x7FC00000  # SECCOMP_RET_USER_NOTIF: whoever holds the listener answers
_ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, the number in the low 16 bits; 0 = the call "succeeds" without being made

_LONGEST_JUMP = 255  # jt and jf are 8 bits


class Instruction(NamedTuple):
    """One `struct sock_filter`; a NamedTuple because several hundred are made in the start of a container."""

    code: int
    jump_true: int
    jump_false: int
    k: int


Block = tuple[Instruction, ...]


def _answer(value: int) -> Block:
    return (Instruction(_RETURN, 0, 0, value),)


def _refuse(number: int) -> Block:
    return _answer(_ERRNO | number)


def _argument(index: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, 16 + 8 * index)


def _equal_to_any(index: int, values: Sequence[int], *, then: Block, otherwise: Block) -> Block:
    """Answer *then* when the low half of argument *index* is one of *values*."""
    tests = tuple(
        Instruction(_JUMP_EQUAL, len(values) - 1 - position + len(otherwise), 0, value) for position, value in enumerate(values)
    )
    return (_argument(index), *tests, *otherwise, *then)


def _any_bit_of(index: int, bits: int, *, then: Block, otherwise: Block) -> Block:
    """Answer *then* when the low half of argument *index* has one of *bits*."""
    return (_argument(index), Instruction(_JUMP_ANY_BIT, len(otherwise), 0, bits), *otherwise, *then)


_PERMITTED = _answer(_ALLOW)
_NOT_PERMITTED = _refuse(errno.EPERM)
_NO_SUCH_CALL = _refuse(errno.ENOSYS)
_PRETEND = _refuse(0)
_ASK = _answer(_USER_NOTIFICATION)


def _refused_where(arguments: Sequence[tuple[int, int]]) -> Block:
    """Answer EPERM when one of the *arguments*, index and value, is so."""
    block = _PERMITTED
    for index, value in arguments:
        block = _equal_to_any(index, (value,), then=_NOT_PERMITTED, otherwise=block)
    return block


ChangeOfOwner = Literal["made", "pretended", "reported"]
"""What becomes of the chown family: the kernel's own answer; success without effect; what the filter's listener answers."""


def answers(numbers: dict[str, int], *, capabilities: frozenset[str], change_of_owner: ChangeOfOwner) -> dict[int, Block]:
    """Number → what the filter does, for every call that gets something else than EPERM."""
    found: dict[str, Block] = dict.fromkeys(profile.ALWAYS, _PERMITTED)
    found["clone"] = _any_bit_of(0, profile.CLONE_NAMESPACE_FLAGS, then=_NOT_PERMITTED, otherwise=_PERMITTED)
    # clone3 hides its flags behind a pointer that BPF cannot follow: glibc falls back to clone on ENOSYS.
    found["clone3"] = _NO_SUCH_CALL
    found["socket"] = _equal_to_any(0, profile.SOCKET_FAMILIES, then=_PERMITTED, otherwise=_refuse(errno.EAFNOSUPPORT))
    found["personality"] = _equal_to_any(0, profile.PERSONALITIES, then=_PERMITTED, otherwise=_NOT_PERMITTED)
    found["ioctl"] = _equal_to_any(1, profile.TERMINAL_INJECTION, then=_NOT_PERMITTED, otherwise=_PERMITTED)
    found.update({name: _refused_where(refused) for name, refused in profile.SLOWING.items()})
    for capability in capabilities:
        found.update(dict.fromkeys(profile.BY_CAPABILITY.get(capability, ()), _PERMITTED))
    if change_of_owner != "made":
        found.update(dict.fromkeys(profile.IDENTITY_CALLS, _PRETEND))
        found.update(dict.fromkeys(profile.OWNER_CALLS, _ASK if change_of_owner == "reported" else _PRETEND))
    return {numbers[name]: block for name, block in found.items() if name in numbers}


def whole_program(
    blocks: dict[int, Block], machine: str, numbers: dict[str, int], *, default: Block, foreign: Block, newer: Block
) -> Block:
    """The filter that answers by *blocks* (number → what to do), and else with *default*; calls of another architecture with
    *foreign*, those that *numbers* doesn't know yet with *newer*."""
    newest = max(numbers.values())
    segments: list[tuple[int, Block]] = []  # (first number, answer) of each run of numbers with one answer, ascending from 0
    for number in range(newest + 1):
        block = blocks.get(number, default)
        if not segments or segments[-1][1] != block:
            segments.append((number, block))
    # x32 calls have the native architecture and bit 30 set: newer than `newest`, so they are refused too.
    segments.append((newest + 1, newer))
    return (
        Instruction(_LOAD, 0, 0, _OFFSET_ARCH),
        Instruction(_JUMP_EQUAL, len(foreign), 0, AUDIT_ARCHITECTURES[machine]),
        *foreign,
        Instruction(_LOAD, 0, 0, _OFFSET_NR),
        *decision_tree(segments),
    )


def as_bytes(program: Block) -> bytes:
    """*program* as the kernel takes it: 8 bytes an instruction, `len(result) // 8` is `sock_fprog.len`."""
    pack: Callable[..., bytes] = struct.Struct("=HBBI").pack
    return b"".join(pack(*one) for one in program)


def decision_tree(segments: Sequence[tuple[int, Block]]) -> Block:
    """Code that finds the segment of the number in the accumulator and runs its block."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    below, above = decision_tree(segments[:middle]), decision_tree(segments[middle:])
    pivot = segments[middle][0]
    if len(below) <= _LONGEST_JUMP:
        return (Instruction(_JUMP_GREATER_EQUAL, len(below), 0, pivot), *below, *above)
    return (Instruction(_JUMP_GREATER_EQUAL, 0, 1, pivot), Instruction(_JUMP, 0, 0, len(below)), *below, *above)


def program(capabilities: Iterable[str], *, machine: str | None = None, change_of_owner: ChangeOfOwner = "made") -> Block:
    """The filter for a program that keeps *capabilities* (names as in `capabilities.NUMBERS`).

    Unless *change_of_owner* is `made`, the setuid family succeeds without effect too: what a build step needs in a user namespace
    of one id, where the kernel would answer EINVAL. Raises Unsupported on an architecture that we have no numbers for.
    """
    machine = machine or os.uname().machine
    numbers = syscall_numbers(machine)
    if numbers is None:
        raise Unsupported(
            f"no system call filter for `{machine}`", hint="`launch` runs containers on x86_64 and aarch64 machines"
        )
    found = answers(numbers, capabilities=frozenset(capabilities), change_of_owner=change_of_owner)
    return whole_program(found, machine, numbers, default=_NOT_PERMITTED, foreign=_NO_SUCH_CALL, newer=_NO_SUCH_CALL)


@lru_cache(maxsize=8)
def program_bytes(capabilities: frozenset[str], *, machine: str | None = None, change_of_owner: ChangeOfOwner = "made") -> bytes:
    """`program` as the kernel takes it."""
    return as_bytes(program(capabilities, machine=machine, change_of_owner=change_of_owner))
