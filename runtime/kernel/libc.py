"""System calls that Python's `os` lacks, one typed function each; the only place of ctypes. Those of the mount API are in
`mounts.py`, which needs no more of it than `system_call`.

A failed call raises KernelError, whose text is the call as it was made. What a failure *means* is the caller's to say.
Flags are named beside the functions that take them, in `mounts.py`, `namespaces.py` and `processes.py`. Numbers of calls without
a libc wrapper: asm-generic/unistd.h (the same on every architecture from 424 up).
"""

from __future__ import annotations

import ctypes
import errno as errno_names
import os
import struct
from ctypes import c_char, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint32, c_ulong, c_void_p

from runtime.light_typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

_CLONE3 = 435
_CLOSE_RANGE = 436
_OPENAT2 = 437
_PIVOT_ROOT, _CLONE, _SECCOMP = {"aarch64": (41, 220, 277)}.get(os.uname().machine, (155, 56, 317))
_KEYCTL, _IOPRIO_SET, _BPF, _SCHED_SETATTR = {"aarch64": (219, 30, 280, 274)}.get(os.uname().machine, (250, 251, 321, 314))
_EXECVEAT = {"aarch64": 281}.get(os.uname().machine, 322)
_CLONE_VM = 0x100
_SET_MEMPOLICY = {"aarch64": 237}.get(os.uname().machine, 238)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_libc.umount2.argtypes = (c_char_p, c_int)
_libc.unshare.argtypes = (c_int,)
_libc.setns.argtypes = (c_int, c_int)
_libc.prctl.argtypes = (c_int, c_ulong, c_void_p, c_ulong, c_ulong)
_libc.capset.argtypes = (c_char_p, c_char_p)
_libc.capget.argtypes = (c_char_p, c_void_p)
_libc.statfs.argtypes = (c_char_p, c_void_p)
_libc.fstatfs.argtypes = (c_int, c_void_p)
_libc.fallocate.argtypes = (c_int, c_int, c_long, c_long)
_libc.inotify_init1.argtypes = (c_int,)
_libc.inotify_add_watch.argtypes = (c_int, c_char_p, c_uint32)
_libc.inotify_rm_watch.argtypes = (c_int, c_int)
_libc.syncfs.argtypes = (c_int,)
_libc.signal.argtypes = (c_int, c_void_p)
_libc.signal.restype = c_void_p
_libc.setdomainname.argtypes = (c_char_p, c_size_t)
_libc.personality.argtypes = (c_ulong,)
_libc.syscall.restype = c_long

# PyDLL keeps the GIL: a child of clone(2) goes on in Python and must find it held by itself.
_clone = ctypes.PyDLL(None, use_errno=True).syscall
_clone.restype = c_long
_clone.argtypes = (c_long, c_ulong, c_ulong, c_ulong, c_ulong, c_ulong)


# glibc's and musl's own, for a child on a stack of its own: it never comes back into Python.
_clone_onto = ctypes.PyDLL(None, use_errno=True).clone
_clone_onto.argtypes = (c_void_p, c_void_p, c_int, c_void_p)


class KernelError(OSError):
    """A system call failed. `call` is the call as made, `errno` the kernel's answer, `detail` its own words if it had any."""

    def __init__(self, number: int, call: str, detail: str = "") -> None:
        name = errno_names.errorcode.get(number, str(number))
        super().__init__(number, f"{call}: {os.strerror(number)} ({name})" + (f": {detail}" if detail else ""))
        self.call = call
        self.detail = detail

    def __str__(self) -> str:
        return str(self.strerror)


def _failure(number: int, call: str, detail: str = "") -> KernelError:
    """A KernelError that is also the built-in exception of its number: `except FileNotFoundError` works as with `os`."""
    return _KINDS.get(number, KernelError)(number, call, detail)


_KINDS: dict[int, type[KernelError]] = {
    number: type(f"Kernel{builtin.__name__}", (KernelError, builtin), {})
    for number, builtin in (
        (errno_names.ENOENT, FileNotFoundError),
        (errno_names.EEXIST, FileExistsError),
        (errno_names.ENOTDIR, NotADirectoryError),
        (errno_names.EISDIR, IsADirectoryError),
        (errno_names.EACCES, PermissionError),
        (errno_names.EPERM, PermissionError),
        (errno_names.EAGAIN, BlockingIOError),
        (errno_names.ESRCH, ProcessLookupError),
        (errno_names.ECHILD, ChildProcessError),
    )
}


def _bytes(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(path)


def _check(result: int, call: str) -> int:
    if result == -1:
        raise _failure(ctypes.get_errno(), call)
    return result


def system_call(number: int, *arguments: int | bytes | None, shown: str, detail: Callable[[], str] | None = None) -> int:
    """A call without a libc wrapper, for the modules beside this one. *shown* is the call in errors; *detail* is asked for more
    words when it failed."""
    words = (c_long(one) if isinstance(one, int) else c_char_p(one) for one in arguments)
    result = _libc.syscall(c_long(number), *words)
    if result == -1:
        code = ctypes.get_errno()
        raise _failure(code, shown, "" if detail is None else detail())
    return int(result)


def mount(source: str, target: str | os.PathLike[str], fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). *options* is limited to one page (4096 bytes) by the kernel."""
    result = _libc.mount(source.encode(), _bytes(target), fstype.encode() or None, flags, options.encode() or None)
    _check(result, f"mount({source!r}, {os.fspath(target)!r}, {fstype!r}, {flags:#x}, {options!r})")


def umount(target: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(_bytes(target), flags), f"umount2({os.fspath(target)!r}, {flags:#x})")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    result = _libc.syscall(c_long(_PIVOT_ROOT), c_char_p(new_root.encode()), c_char_p(put_old.encode()))
    _check(result, f"pivot_root({new_root!r}, {put_old!r})")


def unshare(flags: int) -> None:
    """unshare(2). With CLONE_NEWUSER the process must have one thread."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """setns(2)."""
    _check(_libc.setns(fd, kind), f"setns({fd}, {kind:#x})")


def clone_bare(flags: int, *, exit_signal: int, cgroup: int | None = None) -> int:
    """clone(2) with the parent's stack, as fork does: 0 in the child. With the descriptor of a v2 *cgroup* it begins there.

    Without the interpreter's fork hooks (locks, seeds of random numbers), which cost more than the call: for a process with one
    thread."""
    call = f"clone({flags:#x})"
    if cgroup is None:
        return _check(int(_clone(_CLONE, flags | exit_signal, 0, 0, 0, 0)), call)
    # struct clone_args; CLONE_INTO_CGROUP.
    arguments = struct.pack("11Q", flags | 1 << 33, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup)
    address, _held = address_of(arguments)
    return _check(int(_clone(_CLONE3, address, len(arguments), 0, 0, 0)), call)


def sleeper(flags: int, stack: ctypes.Array[c_char]) -> int:
    """A child that only sleeps, for ten seconds, on *stack*, in the memory of this process: nothing is copied for it. It must be
    killed before *stack* goes, and must get no signal that has a handler."""
    top = (ctypes.addressof(stack) + len(stack)) & ~0xF
    flags |= _CLONE_VM
    return _check(_clone_onto(ctypes.cast(_libc.sleep, c_void_p), top, flags, 10), f"clone({flags:#x})")


def sleeper_stack() -> ctypes.Array[c_char]:
    """Room for one `sleeper`."""
    return _SleeperStack()


def openat2(directory: int, path: str | os.PathLike[str] | bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2)."""
    how = struct.pack("QQQ", flags, mode, resolve)
    name = path if isinstance(path, bytes) else _bytes(path)
    result = _libc.syscall(c_long(_OPENAT2), c_int(directory), c_char_p(name), c_char_p(how), c_size_t(len(how)))
    return _check(result, f"openat2({directory}, {os.fsdecode(name)!r}, flags={flags:#x}, mode={mode:#o}, resolve={resolve:#x})")


def execveat(directory: int, name: bytes, argv: Sequence[bytes], env: Sequence[bytes], flags: int) -> NoReturn:
    """execveat(2)."""
    words, variables = (c_char_p * (len(argv) + 1))(*argv), (c_char_p * (len(env) + 1))(*env)
    result = _libc.syscall(c_long(_EXECVEAT), c_int(directory), c_char_p(name), words, variables, c_int(flags))
    _check(result, f"execveat({directory}, {os.fsdecode(name)!r}, …, flags={flags:#x})")
    raise AssertionError("execveat returned")


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """close_range(2): close every descriptor from *first* to *last*."""
    _check(_libc.syscall(c_long(_CLOSE_RANGE), c_uint(first), c_uint(last), c_uint(0)), f"close_range({first}, {last})")


def prctl(option: int, argument: int = 0, second: int | None = None) -> int:
    """prctl(2) with one integer argument, or two."""
    return _check(_libc.prctl(option, argument, second, 0, 0), f"prctl({option}, {argument}, {second})")


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", c_char_p))


def seccomp_set_filter(program: bytes) -> None:
    """prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER): *program* is an array of struct sock_filter. Needs no_new_privs."""
    argument = _FilterProgram(len(program) // 8, program)
    _check(_libc.prctl(22, 2, ctypes.byref(argument), 0, 0), f"prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {len(program) // 8})")


SECCOMP_NEW_LISTENER = 8


def seccomp_filter(program: bytes, flags: int) -> int:
    """seccomp(SECCOMP_SET_MODE_FILTER): as `seccomp_set_filter`, with SECCOMP_FILTER_FLAG_* *flags*."""
    argument = _FilterProgram(len(program) // 8, program)
    result = _libc.syscall(c_long(_SECCOMP), c_uint(1), c_uint(flags), ctypes.byref(argument))
    return _check(result, f"seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {len(program) // 8})")


def seccomp_listener(program: bytes) -> int:
    """`seccomp_filter` with SECCOMP_FILTER_FLAG_NEW_LISTENER: the close-on-exec descriptor on which what the filter answers with
    SECCOMP_RET_USER_NOTIF is asked (seccomp_unotify(2))."""
    return seccomp_filter(program, SECCOMP_NEW_LISTENER)


_CAPABILITY_VERSION_3 = 0x20080522


def capset(*, effective: int, permitted: int, inheritable: int = 0) -> None:
    """capset(2) on this thread; each set is a bit mask."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    sets = (effective, permitted, inheritable)
    data = struct.pack("6I", *(one & low for one in sets), *(one >> high for one in sets))
    _check(
        _libc.capset(header, data), f"capset(effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x})"
    )


def permitted_capabilities() -> int:
    """capget(2) of this thread: the permitted set as a bit mask."""
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), data), "capget()")
    words = struct.unpack("6I", data.raw)
    return int(words[1] | words[4] << 32)


def default_signal(number: int, *, ignored: bool = False) -> None:
    """signal(2): SIG_DFL for *number*, or SIG_IGN. Python is not told of it."""
    _libc.signal(number, 1 if ignored else None)


# Types that are made once: a fork would make them again, and pays for each page that it writes to.
_SignalSet = c_char * 128
_SleeperStack = c_char * 4096
ALL_SIGNALS, NO_SIGNALS = b"\xff" * 128, bytes(128)


def swap_signal_mask(mask: bytes) -> bytes:
    """pthread_sigmask(SIG_SETMASK): block the signals of *mask*, a sigset_t; the mask before. Python's own makes many objects."""
    before = _SignalSet()
    if _libc.pthread_sigmask(2, mask, before) != 0:
        raise AssertionError("pthread_sigmask(SIG_SETMASK) refused a mask")
    return before.raw


def forget_signal_stack() -> None:
    """sigaltstack(SS_DISABLE): handlers run on the ordinary stack."""
    _check(_libc.sigaltstack(struct.pack("PiN", 0, 2, 0), None), "sigaltstack(SS_DISABLE)")


def statfs_type(path: str | os.PathLike[str]) -> int:
    """statfs(2): `f_type`, the magic number of the file system (linux/magic.h)."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(_bytes(path), buffer), f"statfs({os.fspath(path)!r})")
    return int(struct.unpack_from("l", buffer.raw)[0]) & 0xFFFFFFFF


def fstatfs_type(fd: int) -> int:
    """`statfs_type` of an open file, whatever its path is by now."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(fd, buffer), f"fstatfs({fd})")
    return int(struct.unpack_from("l", buffer.raw)[0]) & 0xFFFFFFFF


FALLOC_PUNCH_HOLE = 3
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE."""


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2)."""
    _check(_libc.fallocate(fd, mode, offset, length), f"fallocate({fd}, {mode}, {offset}, {length})")


def syncfs(fd: int) -> None:
    """syncfs(2): write everything of the file system that holds *fd* to its disk."""
    _check(_libc.syncfs(fd), f"syncfs({fd})")


def inotify_init() -> int:
    """inotify_init1(2), non-blocking."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return _check(_libc.inotify_init1(flags), f"inotify_init1({flags:#x})")


def inotify_add_watch(fd: int, path: str | os.PathLike[str], mask: int) -> int:
    """inotify_add_watch(2)."""
    return _check(_libc.inotify_add_watch(fd, _bytes(path), mask), f"inotify_add_watch({fd}, {os.fspath(path)!r}, {mask:#x})")


def inotify_rm_watch(fd: int, watch: int) -> None:
    """inotify_rm_watch(2)."""
    _check(_libc.inotify_rm_watch(fd, watch), f"inotify_rm_watch({fd}, {watch})")


def overwrite_memory(address: int, content: bytes, length: int) -> None:
    """Put *content*, cut or padded with zero bytes to *length*, at *address* of this process."""
    ctypes.memmove(address, content[:length].ljust(length, b"\0"), length)


def load_library(path: str | os.PathLike[str]) -> None:
    """dlopen(3) for the life of the process: glibc then takes it whenever its SONAME is asked for."""
    ctypes.CDLL(os.fspath(path), mode=ctypes.RTLD_GLOBAL)


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    _check(_libc.setdomainname(name.encode(), len(name.encode())), f"setdomainname({name!r})")


def personality(persona: int) -> None:
    """personality(2)."""
    _check(_libc.personality(persona), f"personality({persona:#x})")


def join_session_keyring(name: str | None = None) -> int:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING): a new session keyring for this process, of that *name* if it is to have one."""
    result = _libc.syscall(c_long(_KEYCTL), c_int(1), c_char_p(None if name is None else name.encode()))
    return _check(result, f"keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name!r})")


def ioprio_set(pid: int, priority: int) -> None:
    """ioprio_set(2) of one process."""
    _check(_libc.syscall(c_long(_IOPRIO_SET), c_int(1), c_int(pid), c_int(priority)), f"ioprio_set(1, {pid}, {priority:#x})")


def sched_setattr(pid: int, attributes: bytes) -> None:
    """sched_setattr(2): *attributes* is a struct sched_attr."""
    result = _libc.syscall(c_long(_SCHED_SETATTR), c_int(pid), c_char_p(attributes), c_uint(0))
    _check(result, f"sched_setattr({pid}, {attributes.hex()})")


def set_mempolicy(mode: int, nodes: bytes, highest: int) -> None:
    """set_mempolicy(2): *nodes* is a bit mask of whole longs for the nodes below *highest*."""
    result = _libc.syscall(c_long(_SET_MEMPOLICY), c_int(mode), c_char_p(nodes or None), c_ulong(highest))
    _check(result, f"set_mempolicy({mode:#x}, {nodes.hex()}, {highest})")


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2): *attributes* is a union bpf_attr."""
    result = _libc.syscall(c_long(_BPF), c_int(command), c_char_p(attributes), c_uint(len(attributes)))
    return _check(result, f"bpf({command})")


def address_of(content: bytes) -> tuple[int, object]:
    """Where a copy of *content* lies in memory, for structures that hold pointers; it stays there as long as the second value."""
    buffer = ctypes.create_string_buffer(content, len(content))
    return ctypes.addressof(buffer), buffer
