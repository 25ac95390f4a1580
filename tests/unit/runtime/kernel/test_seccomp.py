"""The filter's answers, read by a small interpreter of classic BPF that knows nothing of how the program was made."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from runtime.errors import Unsupported
from runtime.kernel import seccomp_profile as profile
from runtime.kernel.capabilities import BUILD_CAPABILITIES, PROGRAM_CAPABILITIES
from runtime.kernel.seccomp import program_bytes
from runtime.kernel.syscall_numbers import syscall_numbers

ALLOWED = "allowed"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/aarch64-linux-gnu/asm/unistd_64.h"),
}
CLONE_THREAD_OF_GLIBC = 0x3D0F00
CLONE_NEWUSER = 0x10000000


def run(program: bytes, data: bytes) -> int:
    """Interpret *program* on the `struct seccomp_data` *data*, as linux/bpf_common.h defines the codes."""
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, position = 0, 0
    while True:
        operation, jump_true, jump_false, k = code[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == 0x05:
            position += k
        elif operation in (0x15, 0x35, 0x45):
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}[operation]
            position += jump_true if holds else jump_false
        elif operation == 0x06:
            return k
        else:
            raise AssertionError(f"instruction {operation:#x} is none of ours")


def answer(name: str | int, *arguments: int, machine: str = "x86_64", capabilities=PROGRAM_CAPABILITIES, **options) -> str:
    """`allowed`, or the name of the error."""
    number = name if isinstance(name, int) else syscall_numbers(machine)[name]
    data = struct.pack("=IIQ6Q", number, ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    returned = run(program_bytes(frozenset(capabilities), machine=machine, **options), data)
    if returned == 0x7FFF0000:
        return ALLOWED
    assert returned >> 16 == 0x5, f"neither allow nor errno: {returned:#x}"
    return errno.errorcode.get(returned & 0xFFFF, "0")


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_call_of_the_profile_is_answered_as_the_profile_says(machine):
    special = {"clone", "clone3", "socket", "personality", "ioctl", *profile.SLOWING}
    for name, number in syscall_numbers(machine).items():
        if name in special:
            continue
        expected = ALLOWED if name in profile.ALWAYS or name == "chroot" else "EPERM"
        assert expected == answer(number, machine=machine), name


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_init_is_not_slowed_down_and_everything_else_may_be(machine):
    """It has the ids of a container's root, which may renice and pin what is its own."""
    for name, arguments in {
        "setpriority": ((0, 1, 19), (1, 1, 19), (2, 0, 19)),
        "ioprio_set": ((1, 1, 0x6000), (2, 1, 0x6000), (3, 0, 0x6000)),
        **dict.fromkeys(("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"), ((1, 8, 0),)),
    }.items():
        assert {"EPERM"} == {answer(name, *each, machine=machine) for each in arguments}, name
        assert {ALLOWED} == {answer(name, 0, 7, 5, machine=machine)}, name
    assert ALLOWED == answer("sched_setaffinity", 7, 8, 0, machine=machine)
    assert ALLOWED == answer("setpriority", 0, 0, 5, machine=machine)
    assert ALLOWED == answer("setpriority", 1, 0, 5, machine=machine)


def test_every_name_in_the_profile_is_a_system_call():
    known = {**syscall_numbers("x86_64"), **syscall_numbers("aarch64")}
    named = {
        *profile.ALWAYS,
        *profile.SLOWING,
        *profile.IDENTITY_CALLS,
        *(name for names in profile.BY_CAPABILITY.values() for name in names),
    }
    assert set() == named - set(known)


def test_a_call_newer_than_our_table_does_not_exist():
    """EPERM would make a libc give up where ENOSYS makes it fall back."""
    newest = max(syscall_numbers("x86_64").values())
    assert "ENOSYS" == answer(newest + 1)
    assert "ENOSYS" == answer(0xFFFFFFFF)


def test_x32_calls_do_not_exist():
    assert "ENOSYS" == answer(0x40000000 | syscall_numbers("x86_64")["getpid"])


def test_32_bit_calls_do_not_exist():
    """i386's number 11 is execve, x86_64's is munmap: a filter that looks at numbers only is no filter."""
    data = struct.pack("=IIQ6Q", 11, 0x40000003, 0, *[0] * 6)
    assert 0x50000 | errno.ENOSYS == run(program_bytes(PROGRAM_CAPABILITIES, machine="x86_64"), data)


def test_threads_can_be_made_and_namespaces_cannot():
    assert ALLOWED == answer("clone", CLONE_THREAD_OF_GLIBC)
    assert "EPERM" == answer("clone", CLONE_NEWUSER | 17)
    assert "EPERM" == answer("unshare", CLONE_NEWUSER)
    assert "ENOSYS" == answer("clone3")


def test_the_high_half_of_clone_flags_hides_nothing():
    assert "EPERM" == answer("clone", 1 << 40 | CLONE_NEWUSER)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        pytest.param(1, ALLOWED, id="unix"),
        pytest.param(2, ALLOWED, id="inet"),
        pytest.param(10, ALLOWED, id="inet6"),
        pytest.param(16, ALLOWED, id="netlink"),
        pytest.param(38, "EAFNOSUPPORT", id="alg"),
        pytest.param(40, "EAFNOSUPPORT", id="vsock"),
        pytest.param(0xFFFFFFFF, "EAFNOSUPPORT", id="nonsense"),
    ],
)
def test_sockets_are_of_a_few_families(family, expected):
    assert expected == answer("socket", family)


def test_nothing_is_typed_into_the_terminal():
    assert "EPERM" == answer("ioctl", 0, 0x5412)
    assert "EPERM" == answer("ioctl", 0, 0x541C)
    assert "EPERM" == answer("ioctl", 0, 1 << 32 | 0x5412)
    assert ALLOWED == answer("ioctl", 0, 0x5413)


def test_personalities_that_switch_protections_off_are_refused():
    assert ALLOWED == answer("personality", 0xFFFFFFFF)
    assert "EPERM" == answer("personality", 0x0040000)  # ADDR_NO_RANDOMIZE


def test_a_kept_capability_opens_its_calls():
    assert "EPERM" == answer("mount")
    assert ALLOWED == answer("mount", capabilities={"CAP_SYS_ADMIN"})
    assert ALLOWED == answer("clone", CLONE_NEWUSER, capabilities={"CAP_SYS_ADMIN"})
    assert "EPERM" == answer("chroot", capabilities=set())


def test_a_build_step_with_one_id_is_told_that_chown_and_setuid_worked():
    for name in ("chown", "fchownat", "setresuid", "setgroups"):
        assert "0" == answer(name, capabilities=BUILD_CAPABILITIES, change_of_owner="pretended")
        assert ALLOWED == answer(name, capabilities=BUILD_CAPABILITIES)
    assert ALLOWED == answer("fchmodat", capabilities=BUILD_CAPABILITIES, change_of_owner="pretended")


def test_jumps_stay_inside_the_program():
    """Every path ends: the kernel refuses a program with a jump past its end, and this interpreter would raise."""
    program = program_bytes(PROGRAM_CAPABILITIES, machine="x86_64")
    for number in range(600):
        run(program, struct.pack("=IIQ6Q", number, ARCHITECTURES["x86_64"], 0, *[0] * 6))


def test_an_unknown_architecture_is_named():
    with pytest.raises(Unsupported, match="no system call filter for `riscv64`"):
        program_bytes(PROGRAM_CAPABILITIES, machine="riscv64")


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_installed_headers(machine):
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"`{header}` is not installed")
    defined = dict(re.findall(r"^#define __NR_(\w+)\s+(\d+)$", header.read_text(), re.M))
    ours = syscall_numbers(machine)
    assert {name: int(number) for name, number in defined.items() if name in ours} == {
        name: number for name, number in ours.items() if name in defined
    }
    assert len(defined) > 300
