"""`linux.seccomp` as a filter program (config-linux.md, "Seccomp"), with the meaning that libseccomp gives it. No I/O.

A call's unconditional rule hides its conditional ones; of these the first that fits decides; a rule that says what the default
says is none. Calls of another architecture than ours get the default, or are refused where the default is to allow.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from runtime.errors import BadContent, Unsupported
from runtime.kernel.seccomp import Block, Instruction, as_bytes, whole_program
from runtime.kernel.syscall_numbers import syscall_numbers
from runtime.oci.linux_config import Seccomp, SeccompArgument, SeccompRule
from runtime.oci_runtime.process.program_start import CompiledFilter

ACTIONS = {
    "SCMP_ACT_KILL": 0x0,
    "SCMP_ACT_KILL_THREAD": 0x0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0x1,
    "SECCOMP_FILTER_FLAG_LOG": 0x2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 0x20,
}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_EQUAL, _GREATER, _GREATER_EQUAL = 0x15, 0x25, 0x35

_NEXT, _FITS, _FAILS = 0, 1, 2
"""Where a jump goes: on, behind the condition, behind the rule."""


def compile_filter(seccomp: Seccomp, *, machine: str | None = None) -> CompiledFilter:
    """The program. Raises BadContent for words that no runtime knows, Unsupported on an architecture without numbers."""
    machine = machine or os.uname().machine
    numbers = syscall_numbers(machine)
    if numbers is None:
        raise Unsupported(f"no system call filter for `{machine}`", hint="leave out `linux.seccomp`")
    default = action_value(seccomp.default_action, seccomp.default_errno)
    if seccomp.architectures and NATIVE[machine] not in seccomp.architectures:
        blocks: dict[int, Block] = {}
    else:
        blocks = _blocks(seccomp.rules, numbers, default)
    foreign = default if default != ACTIONS["SCMP_ACT_ALLOW"] else 0x00050000 | errno.ENOSYS
    newer = 0x00050000 | errno.ENOSYS if seccomp.default_action == "SCMP_ACT_ERRNO" else foreign
    program = whole_program(
        blocks,
        machine,
        numbers,
        default=(Instruction(_RETURN, 0, 0, default),),
        foreign=(Instruction(_RETURN, 0, 0, foreign),),
        newer=(Instruction(_RETURN, 0, 0, newer),),
    )
    notifies = any(rule.action == "SCMP_ACT_NOTIFY" for rule in seccomp.rules)
    return CompiledFilter(as_bytes(program), _flag_bits(seccomp.flags), notifies)


def action_value(action: str, number: int | None) -> int:
    """SECCOMP_RET_* with the number that belongs to it."""
    if action not in ACTIONS:
        raise BadContent(f"`linux.seccomp` names an unknown action: `{action}`")
    if action not in _WITH_NUMBER:
        if number is not None:
            raise BadContent(f"`linux.seccomp`: `{action}` takes no `errnoRet`")
        return ACTIONS[action]
    return ACTIONS[action] | (errno.EPERM if number is None else number)


def _flag_bits(flags: Sequence[str]) -> int:
    bits = 0
    for flag in flags:
        if flag not in FLAGS:
            raise BadContent(f"`linux.seccomp.flags` names an unknown flag: `{flag}`")
        bits |= FLAGS[flag]
    return bits


def _blocks(rules: Sequence[SeccompRule], numbers: dict[str, int], default: int) -> dict[int, Block]:
    unconditional: dict[int, int] = {}
    conditional: dict[int, list[tuple[tuple[SeccompArgument, ...], int]]] = {}
    for rule in rules:
        value = action_value(rule.action, rule.errno)
        if value == default:
            continue
        for number in (numbers[name] for name in rule.names if name in numbers):
            if not rule.args:
                unconditional.setdefault(number, value)
            else:
                conditional.setdefault(number, []).extend((args, value) for args in _alternatives(rule.args))
    blocks: dict[int, Block] = {}
    for number, alternatives in conditional.items():
        code: list[Instruction] = []
        for args, value in alternatives:
            code += _rule(args, value)
        blocks[number] = (*code, Instruction(_RETURN, 0, 0, default))
    return {**blocks, **{number: (Instruction(_RETURN, 0, 0, value),) for number, value in unconditional.items()}}


def _alternatives(args: tuple[SeccompArgument, ...]) -> Iterable[tuple[SeccompArgument, ...]]:
    """Two conditions on one argument are two rules, as runc has it; all others must hold together."""
    if len({one.number for one in args}) == len(args):
        return (args,)
    return tuple((one,) for one in args)


def _rule(args: Sequence[SeccompArgument], value: int) -> list[Instruction]:
    """Answer *value* when all of *args* hold, else go on behind."""
    conditions = [_condition(one) for one in args]
    code: list[Instruction] = []
    total = sum(len(condition) for condition in conditions)
    for condition in conditions:
        for index, (operation, if_true, if_false, k) in enumerate(condition):
            here = len(code)
            behind_condition = len(condition) - index - 1
            behind_rule = total - here  # the return is one instruction
            offsets = (0, behind_condition, behind_rule)
            jumps = (offsets[if_true], offsets[if_false]) if operation not in (_LOAD, _AND) else (0, 0)
            code.append(Instruction(operation, *jumps, k))
    return [*code, Instruction(_RETURN, 0, 0, value)]


def _condition(argument: SeccompArgument) -> list[tuple[int, int, int, int]]:
    """(operation, where to when true, when false, operand): both halves of a 64-bit comparison."""
    low, high = 16 + 8 * argument.number, 20 + 8 * argument.number
    value_low, value_high = argument.value & 0xFFFFFFFF, argument.value >> 32
    load_low, load_high = (_LOAD, 0, 0, low), (_LOAD, 0, 0, high)
    if argument.op == "SCMP_CMP_EQ":
        return [load_high, (_EQUAL, _NEXT, _FAILS, value_high), load_low, (_EQUAL, _FITS, _FAILS, value_low)]
    if argument.op == "SCMP_CMP_NE":
        return [load_high, (_EQUAL, _NEXT, _FITS, value_high), load_low, (_EQUAL, _FAILS, _FITS, value_low)]
    if argument.op == "SCMP_CMP_MASKED_EQ":
        wanted_low, wanted_high = argument.value_two & 0xFFFFFFFF, argument.value_two >> 32
        return [
            load_high,
            (_AND, 0, 0, value_high),
            (_EQUAL, _NEXT, _FAILS, wanted_high),
            load_low,
            (_AND, 0, 0, value_low),
            (_EQUAL, _FITS, _FAILS, wanted_low),
        ]
    orders = {
        "SCMP_CMP_GT": (_GREATER, _FITS, _FAILS),
        "SCMP_CMP_GE": (_GREATER_EQUAL, _FITS, _FAILS),
        "SCMP_CMP_LT": (_GREATER_EQUAL, _FAILS, _FITS),
        "SCMP_CMP_LE": (_GREATER, _FAILS, _FITS),
    }
    if argument.op not in orders:
        raise BadContent(f"`linux.seccomp` names an unknown comparison: `{argument.op}`")
    compare, above, below = orders[argument.op]
    return [
        load_high,
        (_GREATER, above, _NEXT, value_high),
        (_EQUAL, _NEXT, below, value_high),
        load_low,
        (compare, above, below, value_low),
    ]


OPERATORS = (
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
)
