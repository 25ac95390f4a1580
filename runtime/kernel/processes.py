"""Begin a process, and what it is to the kernel (fork(2), prctl(2), capabilities(7), close_range(2)). Namespaces are
`namespaces.py`.

    fork            for a child that goes on in Python with all that its maker has
    run_in_child    the same, with the child's work as a function: it never comes back into the frames of its maker
    answer_of_child a child's work whose result, a few bytes, is waited for
    helped_by       children that work beside us and are waited for
    fork_deaf       for a process with one thread: no hooks, into a cgroup, signals wait until the child is ready for them
    fork_sibling    a child of this process's parent
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial

from runtime.kernel import libc

# Kinds of namespaces, and what else clone(2), unshare(2) and setns(2) take (linux/sched.h).
NEWTIME = 0x00000080
NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

PARENT = 0x8000
"""CLONE_PARENT: what is cloned is a child of the cloner's own parent."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38


def fork() -> int:
    """os.fork(); the child keeps its garbage collector off, since collecting would copy every page it shares."""
    pid = os.fork()
    if pid == 0:
        gc.disable()
    return pid


def run_in_child(work: Callable[[], int | None], *, failed: int = 1) -> int:
    """Fork a child that does *work*; its number. It ends with what *work* returns (None: 0). What *work* raises is on stderr, and
    *failed* the exit code then."""
    pid = fork()
    if pid == 0:
        code = failed
        try:
            code = work() or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def answer_of_child(work: Callable[[], bytes]) -> bytes:
    """Fork a child that does *work*, and wait for what it returns; empty when it was killed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def answer() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(work())

    pid = run_in_child(answer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answered = pipe.read()
    os.waitpid(pid, 0)
    return answered


@contextlib.contextmanager
def helped_by(*works: Callable[[], object]) -> Iterator[None]:
    """Each of *works* in a child beside the body, and waited for behind it; killed where the body fails. What a work raises is
    lost: whether it did what it should is seen by what it left. From a process with one thread."""
    pids: list[int] = []
    try:
        pids.extend(run_in_child(partial(_help, os.getpid(), work)) for work in works)
        yield
    except BaseException:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pid in pids:
            os.waitpid(pid, 0)


def _help(parent: int, work: Callable[[], object]) -> None:
    end_with(parent)
    with contextlib.suppress(BaseException):
        work()


def fork_sibling() -> int:
    """Fork a child of this process's *parent*, so that the parent can wait for it. From a process with one thread."""
    return libc.clone_bare(PARENT, exit_signal=signal.SIGCHLD)


def fork_deaf(flags: int = 0, *, cgroup: int | None = None) -> int:
    """Fork, with *flags* of clone(2) and into *cgroup*, a child that signals wait for until it has reset its handlers: those of
    its maker must not run in it, and a signal that comes too early must not be lost. From a process with one thread."""
    before = libc.swap_signal_mask(libc.ALL_SIGNALS)
    pid = -1
    ending = 0 if flags & PARENT else signal.SIGCHLD  # a sibling's is that of its maker: clone3(2) refuses to be told
    try:
        pid = libc.clone_bare(flags, exit_signal=ending, cgroup=cgroup)
    finally:
        if pid != 0:
            libc.swap_signal_mask(before)
    if pid == 0:
        gc.disable()
        reset_signals()
    return pid


def end_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Be sent *by* when *parent*, whose only thread forked this process, ends. Changing ids afterwards undoes it (prctl(2))."""
    libc.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), by)


def close_fds(*, keep: Iterable[int] = (), first: int = 3) -> None:
    """Close every descriptor from *first* on that is not among *keep*."""
    for fd in sorted(set(keep)):
        if fd > first:
            libc.close_range(first, fd - 1)
        first = max(first, fd + 1)
    libc.close_range(first)


def login_name() -> str:
    """Of the user that this process is, for people; its number where the machine has no name for it."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


@cache
def is_in_user_namespace() -> bool:
    """Whether this process is in a user namespace that somebody made (user_namespaces(7): the first one maps everything)."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def is_root_of_machine() -> bool:
    """Whether this process may do what root may: engines run a runtime as root of a user namespace of theirs."""
    return os.geteuid() == 0 and not is_in_user_namespace()


def make_dumpable() -> None:
    """/proc/PID of this process belongs to its user again; for a child that nobody else can see yet."""
    libc.prctl(_PR_SET_DUMPABLE, 1)


def make_undumpable() -> None:
    """From now on /proc/PID of this process belongs to root and nobody less may read its memory, environment or descriptors."""
    libc.prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """exec can't raise privileges any more (no_new_privs)."""
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def leave_session_keyring() -> None:
    """Have an empty session keyring from now on, instead of the one that came with the login or the service."""
    # No kernel keys, refused by a filter around us, the user's share used up: the program's filter refuses keyctl(2) anyway.
    with contextlib.suppress(OSError):
        libc.join_session_keyring()


def rename(title: str) -> None:
    """Be *title* in /proc/PID/comm and cmdline, which everybody may read: a fork shows the arguments it was forked with."""
    comm = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(comm, title[:15].encode())
    os.close(comm)
    start, end = place_of_arguments()
    if 0 < start < end:
        libc.overwrite_memory(start, title.encode(), end - start)


@cache
def place_of_arguments() -> tuple[int, int]:
    """Where in the memory of this process, and of every fork of it, its arguments lie."""
    with open("/proc/self/stat") as stat:
        # Fields 48 and 49, arg_start and arg_end (proc_pid_stat(5)); the second, the name, may hold spaces and ends with `)`.
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[45]), int(fields[46])


def limit_capabilities(kept: int) -> None:
    """Take every capability outside the bit mask *kept* out of the bounding set, for this process and all it starts."""
    number = 0
    while True:
        try:
            libc.prctl(_PR_CAPBSET_READ if kept >> number & 1 else _PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return  # the kernel has no capability of this number, nor of any higher
        number += 1


def reset_signals() -> None:
    """Default dispositions and an empty mask. Python ignores SIGPIPE and SIGXFSZ, which exec would hand on."""
    signal.set_wakeup_fd(-1)
    # faulthandler's has room for one handler; several signals at once would run over its end.
    libc.forget_signal_stack()
    for number in range(1, signal.NSIG):
        # Not only where Python knows of a handler: of faulthandler's it does not, and as PID 1's they would end a container. By
        # the C library, since signal.signal() takes longer for all of them than a fork does.
        libc.default_signal(number)
    libc.swap_signal_mask(libc.NO_SIGNALS)


def raise_open_file_limit() -> tuple[int, int]:
    """Raise the soft limit of descriptors to the hard one; the limits before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def restore_open_file_limit(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def wait_ended(pidfd: int, *, timeout_s: float | None = None) -> bool:
    """Wait until the process of *pidfd*, a child or not, has ended. False when *timeout_s* passed first."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))


def reap(pidfd: int) -> None:
    """Take the ended process of *pidfd* out of the process table, if it is ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def reap_children() -> None:
    """Wait for every child of this process."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def send_signal(pidfd: int, signum: int) -> bool:
    """False when the process is gone."""
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    return True
