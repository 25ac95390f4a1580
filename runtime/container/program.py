"""From a fork of init to the program: identity, privileges, descriptors, exec. Runs inside the container, after the pivot.

Nothing may be imported here any more: `/` is the image's.
"""

from __future__ import annotations

import errno
import os
import socket

from runtime.container.exec_file import DEFAULT_PATH, candidates, enter_directory, exec_file
from runtime.container.handshake import send
from runtime.container.pty import take_terminal
from runtime.kernel import libc, processes
from runtime.light_dataclasses import dataclass

NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""The shell's numbers, and Docker's."""


@dataclass(frozen=True, slots=True)
class Program:
    """What init starts, once or as ranks."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...] | None
    """None keeps those that the container was made with."""
    one_id: bool
    """The container has a single id: the program has it already, and setgroups is refused."""
    capabilities: int
    """Bit mask that stays."""
    seccomp: bytes
    seccomp_asking: bytes | None
    """The filter of a build step in a user namespace with one id: it asks about changes of owner (`owner_reports.py`)."""
    open_files: tuple[int, int]
    """RLIMIT_NOFILE for the program."""
    user_namespace: int | None = None
    """Where its id is another number (`ContainerSpec.seen_as`)."""
    terminal: tuple[int, int] | None = None
    """Rows and columns, where its descriptors are a terminal of the container's own."""


def exec_program(program: Program, env: dict[str, str], asked: socket.socket | None = None, terminal: int | None = None) -> int:
    """Become *program*, in a process that has reset its signals, on *terminal* (a slave) if there is one; who answers its filter
    gets the listener through *asked*. Returns, with the exit code to end with, only when that failed and was said on stderr."""
    failed = take_its_place(program, asked, terminal)
    return failed if failed is not None else _exec(program.argv, env)


def take_its_place(program: Program, asked: socket.socket | None = None, terminal: int | None = None) -> int | None:
    """Have this process be what *program* will be when it is executed: its session, directory, identity, rights and filter. An
    exit code when that failed and was said on stderr."""
    os.setsid()
    if terminal is not None:
        take_terminal(terminal, program.uid)
    os.umask(0o022)
    processes.restore_open_file_limit(program.open_files)
    failed = _try_enter(program.cwd)
    _drop_privileges(program)
    if failed is not None and failed.errno in (errno.EACCES, errno.EPERM):
        failed = _try_enter(program.cwd)
    if failed is not None:
        return _report(f"working directory `{program.cwd}`: {os.strerror(failed.errno or 0)}", NOT_EXECUTABLE)
    # Last: from here on only what the filter allows.
    _filter_calls(program, asked)
    return None


def _try_enter(directory: str) -> OSError | None:
    """Twice where it must be, as other runtimes do: before the identity changes, for a directory that only others may enter;
    and after that, for a file system that lets in the user but not root (NFS)."""
    try:
        enter_directory(directory)
    except OSError as error:
        return error
    return None


def _filter_calls(program: Program, asked: socket.socket | None) -> None:
    if program.seccomp_asking is not None and asked is not None:
        try:
            send(asked, {}, (libc.seccomp_listener(program.seccomp_asking),))
            return
        except OSError as error:
            # EBUSY: a filter around this whole container has a listener already, and a process can have one only.
            if error.errno != errno.EBUSY:
                raise
    libc.seccomp_set_filter(program.seccomp)


def _drop_privileges(program: Program) -> None:
    processes.limit_capabilities(program.capabilities)
    if not program.one_id:
        if program.groups is not None:
            os.setgroups(program.groups)
        os.setresgid(program.gid, program.gid, program.gid)
        os.setresuid(program.uid, program.uid, program.uid)
        # Another id made this copy of the launcher what the machine's fs.suid_dumpable says: nobody inside may look at it.
        processes.make_undumpable()
    if program.user_namespace is not None:
        libc.setns(program.user_namespace, processes.NEWUSER)
        processes.limit_capabilities(program.capabilities)  # whoever comes in has all of them there
    kept = program.capabilities if os.geteuid() == 0 else 0
    libc.capset(effective=kept, permitted=kept)
    processes.forbid_new_privileges()


def _exec(argv: tuple[str, ...], env: dict[str, str]) -> int:
    name = argv[0]
    denied: OSError | None = None
    for candidate in candidates(name, env.get("PATH")):
        try:
            exec_file(candidate, argv, env)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                if os.path.exists(candidate):
                    return _report(f"cannot run `{candidate}`: its interpreter is missing in the image", NOT_FOUND)
                continue
            if denied is None:
                denied = error
                denied.filename = candidate
            if error.errno != errno.EACCES:
                break
    if denied is not None:
        why = "a link without an end, or one of /proc" if denied.errno == errno.ELOOP else os.strerror(denied.errno or 0).lower()
        return _report(f"cannot run `{denied.filename}`: {why}", NOT_EXECUTABLE)
    if "/" in name:
        return _report(f"cannot run `{name}`: no such file in the image", NOT_FOUND)
    return _report(f"cannot run `{name}`: not found in PATH ({env.get('PATH', DEFAULT_PATH)})", NOT_FOUND)


def _report(words: str, code: int) -> int:
    os.write(2, f"launch: {words}\n".encode())
    return code
