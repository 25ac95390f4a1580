"""A bundle's filter answers as libseccomp's would, read by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from runtime.errors import BadContent
from runtime.kernel.syscall_numbers import syscall_numbers
from runtime.oci.linux_config import Seccomp, SeccompArgument, SeccompRule
from runtime.oci_runtime.process.seccomp_compile import ACTIONS, compile_filter

X86_64 = 0xC000003E
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def interpreted(program: bytes, data: bytes) -> int:
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, position = 0, 0
    while True:
        operation, jump_true, jump_false, k = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            position += k
        elif operation in (0x15, 0x25, 0x35):
            position += (
                jump_true if {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[operation] else jump_false
            )
        elif operation == 0x06:
            return k
        else:
            raise AssertionError(f"instruction {operation:#x} is none of ours")


def answer(seccomp: Seccomp, name: str | int, *arguments: int, arch: int = X86_64) -> int:
    numbers = syscall_numbers("x86_64")
    assert numbers is not None
    number = name if isinstance(name, int) else numbers[name]
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    return interpreted(compile_filter(seccomp, machine="x86_64").program, data)


def seccomp(default: str, *rules: SeccompRule, default_errno: int | None = None, flags: tuple[str, ...] = ()) -> Seccomp:
    return Seccomp(default, default_errno, (), flags, None, "", rules)


def rule(action: str, *names: str, args: tuple[SeccompArgument, ...] = (), number: int | None = None) -> SeccompRule:
    return SeccompRule(names, action, number, args)


def test_a_call_that_is_named_gets_its_action_and_others_the_default() -> None:
    listed = seccomp("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", "getpid", "no_such_call"))
    assert ALLOW == answer(listed, "getpid")
    assert ERRNO | errno.EPERM == answer(listed, "mkdir")


def test_numbers_of_errors_are_the_documents() -> None:
    listed = seccomp("SCMP_ACT_ERRNO", rule("SCMP_ACT_ERRNO", "mkdir", number=errno.EACCES), default_errno=errno.ENOSYS)
    assert ERRNO | errno.EACCES == answer(listed, "mkdir")
    assert ERRNO | errno.ENOSYS == answer(listed, "getpid")


BIG = 0x1_0000_0005
COMPARISONS = (
    ("SCMP_CMP_EQ", (BIG,), (5, BIG + 1)),
    ("SCMP_CMP_NE", (5, BIG + 1), (BIG,)),
    ("SCMP_CMP_GT", (BIG + 1, 0x2_0000_0000), (BIG, 5)),
    ("SCMP_CMP_GE", (BIG, BIG + 1, 0x2_0000_0000), (BIG - 1, 0xFFFFFFFF)),
    ("SCMP_CMP_LT", (BIG - 1, 0xFFFFFFFF), (BIG, 0x2_0000_0000)),
    ("SCMP_CMP_LE", (BIG, 6), (BIG + 1, 0x2_0000_0000)),
)


@pytest.mark.parametrize(("op", "fitting", "others"), COMPARISONS, ids=[one[0] for one in COMPARISONS])
def test_both_halves_of_an_argument_are_compared(op: str, fitting: tuple[int, ...], others: tuple[int, ...]) -> None:
    listed = seccomp("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir", args=(SeccompArgument(1, BIG, 0, op),)))
    assert [ERRNO | 1] * len(fitting) == [answer(listed, "mkdir", 0, value) for value in fitting]
    assert [ALLOW] * len(others) == [answer(listed, "mkdir", 0, value) for value in others]


def test_a_mask_looks_at_its_bits_only() -> None:
    masked = SeccompArgument(0, 0x7E020000, 0, "SCMP_CMP_MASKED_EQ")
    listed = seccomp("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", "clone", args=(masked,)))
    assert ALLOW == answer(listed, "clone", 0x3D0F00)
    assert ERRNO | 1 == answer(listed, "clone", 0x10000000)


def test_conditions_on_two_arguments_hold_together_and_on_one_alone() -> None:
    both = (SeccompArgument(0, 1, 0, "SCMP_CMP_EQ"), SeccompArgument(1, 2, 0, "SCMP_CMP_EQ"))
    either = (SeccompArgument(0, 1, 0, "SCMP_CMP_EQ"), SeccompArgument(0, 2, 0, "SCMP_CMP_EQ"))
    listed = seccomp("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", "mkdir", args=both), rule("SCMP_ACT_ALLOW", "chmod", args=either))
    assert (ALLOW, ERRNO | 1) == (answer(listed, "mkdir", 1, 2), answer(listed, "mkdir", 1, 3))
    assert (ALLOW, ALLOW, ERRNO | 1) == tuple(answer(listed, "chmod", value) for value in (1, 2, 3))


def test_a_rule_without_conditions_hides_those_with() -> None:
    conditional = rule("SCMP_ACT_ERRNO", "mkdir", args=(SeccompArgument(0, 1, 0, "SCMP_CMP_EQ"),))
    listed = seccomp("SCMP_ACT_KILL", conditional, rule("SCMP_ACT_ALLOW", "mkdir"))
    assert ALLOW == answer(listed, "mkdir", 1)


def test_calls_that_we_have_no_number_for_do_not_exist_where_others_are_refused() -> None:
    listed = seccomp("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", "getpid"))
    assert ERRNO | errno.ENOSYS == answer(listed, 3000)


def test_another_architecture_is_no_way_around_a_list_of_what_is_forbidden() -> None:
    listed = seccomp("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir"))
    assert ALLOW != answer(listed, 39, arch=0x40000003)
    assert ALLOW != answer(listed, 83 | 1 << 30)


def test_a_long_list_compiles_to_jumps_that_reach() -> None:
    numbers = syscall_numbers("x86_64")
    assert numbers is not None
    argument = (SeccompArgument(0, 7, 0, "SCMP_CMP_EQ"),)
    listed = seccomp("SCMP_ACT_ERRNO", *(rule("SCMP_ACT_ALLOW", name, args=argument) for name in numbers))
    assert {ALLOW} == {answer(listed, name, 7) for name in ("read", "mkdir", "clone3", "open_tree_attr", "futex")}
    assert {ERRNO | 1} == {answer(listed, name, 8) for name in ("read", "mkdir", "clone3", "open_tree_attr", "futex")}


def test_every_action_is_one_of_the_kernels() -> None:
    for action, value in ACTIONS.items():
        if action not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
            assert value == answer(seccomp("SCMP_ACT_ALLOW", rule(action, "mkdir")), "mkdir"), action


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(seccomp("SCMP_ACT_MAYBE"), id="an action"),
        pytest.param(seccomp("SCMP_ACT_ALLOW", flags=("SECCOMP_FILTER_FLAG_MOON",)), id="a flag"),
        pytest.param(
            seccomp("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir", args=(SeccompArgument(0, 1, 0, "SCMP_CMP_NEAR"),))),
            id="a comparison",
        ),
        pytest.param(seccomp("SCMP_ACT_ALLOW", rule("SCMP_ACT_KILL", "mkdir", number=1)), id="a number for what takes none"),
    ],
)
def test_words_that_nobody_knows_are_refused(wrong: Seccomp) -> None:
    with pytest.raises(BadContent):
        compile_filter(wrong, machine="x86_64")
