"""The last steps before a container's program: environment, identity, privileges, filter, exec (config.md, "Process").

Runs inside the container, so nothing may be imported here any more. Both PID 1 and `exec` come this way.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping

from runtime.container.exec_file import OpenedProgram, candidates, enter_directory, open_program, own_file_is_at_stake
from runtime.errors import ContainerError
from runtime.kernel import capabilities, libc, processes
from runtime.light_typing import NamedTuple, NoReturn
from runtime.oci.runtime_config import CapabilitySets, Process
from runtime.oci_runtime.process.security_labels import Labels
from runtime.rootfs.accounts import Accounts, read_below_root

_OWN_FILE_IS_AT_STAKE = own_file_is_at_stake()
"""An ordinary user's own Python (CVE-2019-5736). Root's commands run from a read-only mount of theirs (`entry.py`), so that the
kernel may look for the program: then images of other architectures work (binfmt_misc)."""

_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT = 8, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4


class CompiledFilter(NamedTuple):
    """A filter as the kernel gets it; `seccomp_compile.py` makes it."""

    program: bytes
    flags: int
    notifies: bool
    """Some rule asks whoever holds the listener."""


class Start(NamedTuple):
    """What `exec_program` needs beside the document."""

    process: Process
    seccomp: CompiledFilter | None
    seccomp_listener: int | None
    """Socket that gets the filter's listener."""
    listener_message: bytes = b""
    no_setgroups: bool = False
    """The user namespace refuses setgroups(2)."""
    extra_env: tuple[tuple[str, str], ...] = ()
    labels: Labels | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What of it must stay open until the program starts."""
        held = (self.seccomp_listener, None if self.labels is None else self.labels.proc)
        return tuple(one for one in held if one is not None)


def environment(start: Start) -> dict[str, str]:
    """The program's variables; HOME comes from the image's passwd when the document has none."""
    env: dict[str, str] = {}
    for one in start.process.env:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise ContainerError(f"`process.env` holds `{one:.60}`, which is not NAME=VALUE")
        env[name] = value
    for name, value in start.extra_env:
        env.setdefault(name, value)
    if not env.get("HOME"):
        env["HOME"] = _home_of(start.process.user.uid)
    return env


def _home_of(uid: int) -> str:
    return Accounts(read_below_root).home_of(uid) or ("/root" if uid == 0 else "/")


def find_program(process: Process, env: Mapping[str, str]) -> str:
    """Where the program is, before anything is started. Raises ContainerError."""
    name = process.args[0]
    denied = None
    for candidate in candidates(name, env.get("PATH"), cwd=process.cwd):
        try:
            status = os.stat(candidate)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                denied = candidate, os.strerror(error.errno or 0).lower()
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return candidate
        denied = candidate, "permission denied"
    if denied is not None:
        raise ContainerError(f"cannot run `{denied[0]}`: {denied[1]}")
    if "/" in name:
        raise ContainerError(f"executable file `{name}` not found: no such file or directory")
    raise ContainerError(f"executable file `{name}` not found in $PATH: no such file or directory")


def unknown_capabilities(process: Process) -> list[str]:
    """Names in `process.capabilities` that no kernel knows."""
    return sorted({name for names in process.capabilities or () for name in names} - set(capabilities.NUMBERS))


def own_streams(uid: int) -> None:
    """Give the program's user its three streams, as far as they may be given."""
    for number in (0, 1, 2):
        try:
            status = os.fstat(number)
            if status.st_uid == uid or (stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)):
                continue
            os.fchown(number, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS, errno.EBADF, errno.ENOSYS, errno.EOVERFLOW):
                raise


def exec_program(start: Start, program: str, env: Mapping[str, str]) -> NoReturn:
    """Become the program. Raises OSError or ContainerError when that can't be."""
    process = start.process
    os.umask(0o022 if process.user.umask is None else process.user.umask)
    if start.labels is not None:
        start.labels.apply()
    # Before the identity changes, for a directory that only others may enter, and else after that.
    entered = _try_directory(process.cwd)
    # Before a filter, which may refuse to open anything.
    opened = open_program(program, process.args) if _OWN_FILE_IS_AT_STAKE else None
    if not process.no_new_privileges:
        # Without it a filter needs CAP_SYS_ADMIN, which is about to go.
        _install_filter(start)
    _take_identity(start)
    if not entered:
        _enter_directory(process.cwd)
    if process.no_new_privileges:
        processes.forbid_new_privileges()
        _install_filter(start)
    if opened is None:
        os.execve(program, process.args, dict(env))
    _execute(opened, env)


def _execute(opened: OpenedProgram, env: Mapping[str, str]) -> NoReturn:
    try:
        opened.execute(env)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        # A filter that knows no execveat(2), of which there are many.
        os.execve(opened.file, opened.argv, dict(env))


def _try_directory(cwd: str) -> bool:
    try:
        enter_directory(cwd)
    except OSError:
        return False
    return True


def _enter_directory(cwd: str) -> None:
    try:
        enter_directory(cwd)
    except OSError as error:
        raise ContainerError(f"cannot chdir to the working directory `{cwd}`: {os.strerror(error.errno or 0).lower()}") from error


def _take_identity(start: Start) -> None:
    user = start.process.user
    sets = start.process.capabilities
    # What can't be granted is left out, with everything that needs it (config.md: "SHOULD NOT fail").
    masks = CapabilityMasks.of(sets).within(libc.permitted_capabilities())
    processes.limit_capabilities(masks.bounding)
    libc.prctl(_PR_SET_KEEPCAPS, 1)
    if not start.no_setgroups:
        os.setgroups(user.additional_gids)
    elif user.additional_gids:
        raise ContainerError("`process.user.additionalGids` in a user namespace that refuses setgroups")
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    # A process that changed its identity can't be looked at any more: the runtime's own files in /proc would be root's.
    libc.capset(effective=masks.effective, permitted=masks.permitted, inheritable=masks.inheritable)
    libc.prctl(_PR_SET_KEEPCAPS, 0)
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0)
    for number in capabilities.NUMBERS.values():
        if masks.ambient >> number & 1:
            libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


class CapabilityMasks(NamedTuple):
    """The five sets as the kernel counts them."""

    bounding: int
    effective: int
    inheritable: int
    permitted: int
    ambient: int

    @classmethod
    def of(cls, sets: CapabilitySets | None) -> CapabilityMasks:
        """None: no capability at all. Names that this machine doesn't know are left out, as the runtime-spec wants."""
        if sets is None:
            return cls(0, 0, 0, 0, 0)
        return cls(*(capabilities.mask(name for name in names if name in capabilities.NUMBERS) for names in sets))

    def within(self, permitted: int) -> CapabilityMasks:
        """The sets without what this process itself has not."""
        return CapabilityMasks(*(one & permitted for one in self))


def _install_filter(start: Start) -> None:
    if start.seccomp is None:
        return
    if not start.seccomp.notifies:
        if start.seccomp.flags:
            libc.seccomp_filter(start.seccomp.program, start.seccomp.flags)
        else:
            libc.seccomp_set_filter(start.seccomp.program)
        return
    listener = libc.seccomp_filter(start.seccomp.program, start.seccomp.flags | libc.SECCOMP_NEW_LISTENER)
    if start.seccomp_listener is not None:
        with socket.socket(fileno=start.seccomp_listener) as receiver:
            socket.send_fds(receiver, [start.listener_message], [listener])
    os.close(listener)
