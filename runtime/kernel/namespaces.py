"""Make and enter namespaces (namespaces(7)). Only from processes with one thread: unshare(CLONE_NEWUSER) is EINVAL in others."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ToolFailed, Unsupported
from runtime.kernel import libc, processes
from runtime.kernel.id_maps import IdMap, IdMapKind, IdMaps, newuidmap_program

if TYPE_CHECKING:
    from ctypes import Array, c_char

_APPARMOR_SWITCH = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_DEBIAN_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAX_USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")


def make_user_namespace(maps: IdMaps) -> int:
    """A descriptor of a new user namespace with *maps*. It lives as long as somebody holds it or is in it.

    The caller owns it, so it may enter it with `enter_user_namespace`.
    """
    (made,), killed = _make([lambda pid: write_maps(pid, maps)])
    reap(killed)
    return made


def make_mapping(uids: IdMap, gids: IdMap) -> int:
    """A descriptor of a user namespace that nobody enters: the map of an id-mapped mount (needs root)."""
    (made,), killed = _make([_maps_writer(uids, gids)])
    reap(killed)
    return made


def make_user_namespaces(maps: IdMaps, mappings: Sequence[tuple[IdMap, IdMap]]) -> tuple[list[int], tuple[int, ...]]:
    """`make_user_namespace`, and `make_mapping` for each of *mappings*, at once; and killed children to be given to `reap`."""
    return _make([lambda pid: write_maps(pid, maps), *(_maps_writer(uids, gids) for uids, gids in mappings)])


def _maps_writer(uids: IdMap, gids: IdMap) -> Callable[[int], None]:
    def write_maps(pid: int) -> None:
        _write(pid, "uid_map", uids.text)
        _write(pid, "gid_map", gids.text)

    return write_maps


def make_renaming_namespace(own: tuple[int, int], seen_as: tuple[int, int]) -> int:
    """A descriptor of a user namespace in which *own*, a uid and gid that this process may become, are *seen_as*, and no other id
    is anything. Its owner is *own*, so that who is that may enter it (setns(2)). From a process that nobody looks at yet."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = processes.run_in_child(partial(_rename_ids, theirs, own, seen_as))
        theirs.close()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not fds:
        raise no_user_namespace(OSError(status, os.strerror(status)))
    os.set_inheritable(fds[0], False)
    return fds[0]


def _rename_ids(end: socket.socket, own: tuple[int, int], seen_as: tuple[int, int]) -> int:
    uid, gid = own
    try:
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        processes.make_dumpable()  # for its own /proc
        libc.unshare(processes.NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{seen_as[0]} {uid} 1"), ("gid_map", f"{seen_as[1]} {gid} 1")):
            _write("self", name, text)
        made = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or 1
    socket.send_fds(end, [b"."], [made])
    return 0


_FREE_STACKS: list[Array[c_char]] = []
_STACKS: dict[int, Array[c_char]] = {}
"""Of sleepers, by their number: each has its own until it is reaped, and none is ever freed. One that is killed may run on for a
moment on another processor, and the kernel writes the rest of its sleep where it lay (nanosleep(2), `rem`)."""


def _make(writers: Sequence[Callable[[int], None]]) -> tuple[list[int], tuple[int, ...]]:
    """One new user namespace for each of *writers*, which gets the number of a process in it; and these processes, killed."""
    # A child that only sleeps holds each namespace while its maps are written: they must be written from outside.
    sleepers: list[int] = []
    try:
        for _ in writers:
            sleepers.append(_sleeper_on_own_stack())
        for pid, write_maps in zip(sleepers, writers, strict=True):
            write_maps(pid)
        made = [os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC) for pid in sleepers]
    except BaseException as error:
        _kill(sleepers)
        reap(sleepers)
        if isinstance(error, OSError) and error.errno in REFUSALS:
            raise no_user_namespace(error) from error
        raise
    _kill(sleepers)
    return made, tuple(sleepers)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def reap(killed: Iterable[int]) -> None:
    """Wait for the children that `make_user_namespaces` killed."""
    for pid in killed:
        stack = _STACKS.pop(pid)  # by now: another thread's next one may have the number
        with suppress(ChildProcessError):  # a process that ignores SIGCHLD
            os.waitpid(pid, 0)
        _FREE_STACKS.append(stack)


def _sleeper_on_own_stack() -> int:
    try:
        stack = _FREE_STACKS.pop()
    except IndexError:
        stack = libc.sleeper_stack()
    pid = _sleeper(stack)
    _STACKS[pid] = stack
    return pid


def _sleeper(stack: Array[c_char], flags: int = processes.NEWUSER) -> int:
    """It uses our memory, so no handler of ours may run in it: all that ever gets through to it is SIGKILL."""
    before = libc.swap_signal_mask(libc.ALL_SIGNALS)
    try:
        return libc.sleeper(flags | signal.SIGCHLD, stack)
    finally:
        libc.swap_signal_mask(before)


_HOLDER_STACK = libc.sleeper_stack()


def holder_of_descriptors() -> int:
    """A child that holds all descriptors of this process until it is killed (and that may be left to be reaped by chance)."""
    return _sleeper(_HOLDER_STACK, 0)


def write_maps(pid: int, maps: IdMaps) -> None:
    """Give the user namespace of process *pid*, which is new, its *maps*."""
    if maps.kind is IdMapKind.SUBIDS:
        program = newuidmap_program()
        if program is None:
            raise Unsupported("`newuidmap` is gone", hint="install the package `uidmap`")
        # Side by side: each takes as long as half a container.
        with _newidmap(program, pid, maps.uids), _newidmap(program.replace("newuidmap", "newgidmap"), pid, maps.gids):
            return
    if maps.kind is IdMapKind.SINGLE and os.geteuid() != 0:
        # Without it a process could drop a group that only denies it something (user_namespaces(7), CVE-2014-8989).
        _write(pid, "setgroups", "deny")
    _write(pid, "uid_map", maps.uids.text)
    _write(pid, "gid_map", maps.gids.text)


def _write(pid: int | str, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@contextmanager
def _newidmap(program: str, pid: int, map_: IdMap) -> Iterator[None]:
    """The map has been written when the body has ended. Raises ToolFailed."""
    words = [program, str(pid), *(str(number) for one in map_.extents for number in (one.inside, one.outside, one.count))]
    read_end, write_end = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, write_end, 2)]
        child = os.posix_spawn(program, words, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, file_actions=actions)
        os.close(write_end)
        write_end = -1
        try:
            yield
        finally:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            said = os.read(read_end, 4096).decode(errors="replace").strip()
            raise ToolFailed(words, status, said, hint="is there a line for you in /etc/subuid and /etc/subgid?")
    finally:
        os.close(read_end)
        if write_end != -1:
            os.close(write_end)


def enter_user_namespace(fd: int, maps: IdMaps, *, keep_groups: Sequence[int] = ()) -> None:
    """Move this process into the user namespace *fd* as the owner of everything in it: all capabilities, the id that 0 or the
    single id is. *keep_groups* are groups of the host; who isn't root there keeps all of its own for their sake."""
    if keep_groups and os.geteuid() == 0:
        os.setgroups(list(keep_groups))
    libc.setns(fd, processes.NEWUSER)
    become_owner(maps, keep_groups=keep_groups)


def become_owner(maps: IdMaps, *, keep_groups: Sequence[int] = ()) -> None:
    """`enter_user_namespace` for who is in it already."""
    if maps.kind is not IdMapKind.SINGLE and not keep_groups:
        os.setgroups([])
    uid, gid = maps.uids.extents[0].inside, maps.gids.extents[0].inside
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def within_user_namespace(maps: IdMaps, work: Callable[[], None]) -> None:
    """Do *work* in a child that is root over the ids of *maps*: what belongs to sub-ids, or denies its own owner access, can be
    changed there. Raises OSError with the child's errno when it failed."""
    pid = processes.fork()
    if pid == 0:
        status = 1
        try:
            enter_user_namespace(make_user_namespace(maps), maps)
            work()
            status = 0
        except OSError as error:
            status = error.errno or 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise OSError(status, os.strerror(status) if status > 0 else f"killed by signal {-status}")


REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS)
"""What the kernel answers who may make no namespace."""


def no_user_namespace(error: OSError) -> Unsupported:
    """Why a user namespace was refused, and the way out."""
    message = f"no user namespace can be made here: {error.strerror or error}"
    if _switch(_APPARMOR_SWITCH) == "1" and os.geteuid() != 0:
        return Unsupported(
            f"{message} (AppArmor restricts unprivileged user namespaces)",
            hint="run as root, install an AppArmor profile with `userns,` for this Python, or "
            "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
        )
    if _switch(_DEBIAN_SWITCH) == "0":
        return Unsupported(message, hint="`sysctl kernel.unprivileged_userns_clone=1` as root")
    if _switch(_MAX_USER_NAMESPACES) == "0":
        return Unsupported(message, hint="`sysctl user.max_user_namespaces=15000` as root")
    return Unsupported(
        message, hint="inside another container the outer one must allow it (`--privileged`, or its seccomp profile)"
    )


def _switch(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
