"""Console script `launch`: a fork of the warm helper does the command, where there is one that fits; else we do, the cold way.

All differences between the two are time. So everything that is not plain leads to the cold way: a helper that is missing, stopped
or busy, another version, other rights. Imports what Python has loaded when it starts, and sockets without `socket` (8 ms).

    → request: what `fork` needs to know (marshal), and all our descriptors
    ← READY, the fork's pid and its pidfd       it has compared itself with us; nothing has been done yet
    → GO                                        we have seen it in time, and relay signals from now on
    ← the exit code
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing takes 10 ms
if TYPE_CHECKING:
    from _socket import socket as Socket

READY, GO, DONE, DIED = b"R", b"G", b"D", b"X"
"""What messages begin with. Behind READY a pid, behind DONE an exit code, behind DIED a signal, in decimals."""

LENGTH_BYTES = 8
"""Of the number that a request begins with: how long the rest is."""

_PATIENCE_S = 5.0
"""How long a helper may take before anything is done: on a busy machine, a while."""

_MOST_FDS = 250
"""unix(7): 253 in one message."""


def main() -> None:
    """Do the command that was typed, and exit as it does."""
    code = _run_warm()
    if code is not None:
        os._exit(code)  # nothing of ours waits to be written, and Python's own end takes 3 ms
    from launcher.cli.main import run

    _have_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _run_warm() -> int | None:
    """Have the command done by a helper. Returns its exit code; None when that is to be done the cold way."""
    if None in (sys.stdin, sys.stdout, sys.stderr):  # closed: what we open now would be taken for it
        return None
    try:
        helper = _connect()
        if helper is None:
            return None
        passed_fds = _open_fds(but=helper.fileno())
        reply = _ask(helper, passed_fds)
        if reply is None:
            return None
    except OSError:
        return None
    except KeyboardInterrupt:
        return 130
    pid, pidfd = reply
    _relay_signals(pid, pidfd)
    return _wait(helper, pidfd)


def _connect() -> Socket | None:
    from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

    from launcher.run.start.helper_address import helper_address, inherited_state, may_be_warm

    if not may_be_warm():
        return None
    state = inherited_state("self")
    address = helper_address(state)
    helper = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    helper.settimeout(_PATIENCE_S)
    helper.connect(b"\0" + address.encode())
    # Who shares our network can take a name: a container with the host's. It would get our environment.
    credentials = helper.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    pid, uid = (int.from_bytes(credentials[at : at + 4], sys.byteorder) for at in (0, 4))
    is_ours = uid == os.getuid() and inherited_state(pid) == state
    return helper if is_ours else None


def _open_fds(*, but: int) -> list[int]:
    """All that we were given, by number."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(fd for fd in numbers if fd != but and _is_inherited(fd))


def _is_inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)  # what Python opens is not
    except OSError:
        return False  # the directory that was listed


def _ask(helper: Socket, passed_fds: list[int]) -> tuple[int, int] | None:
    """Send the request. Returns pid and pidfd of the fork, which waits for nothing any more; None where it does not fit."""
    import marshal
    from _socket import SCM_RIGHTS, SOL_SOCKET

    if len(passed_fds) > _MOST_FDS:
        return None
    directory_fd = os.open(".", os.O_PATH | os.O_CLOEXEC)  # also one that was deleted
    request = marshal.dumps(
        {
            "argv": sys.argv,
            "environ": [(name, value) for name, value in os.environ.items()],
            "path": sys.path,
            "prefixes": (sys.prefix, sys.exec_prefix),
            "has_finders": len(sys.meta_path) > 3,
            "fds": passed_fds,
        }
    )
    fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (directory_fd, *passed_fds))
    told = len(request).to_bytes(LENGTH_BYTES, sys.byteorder) + request
    sent = helper.sendmsg([told], [(SOL_SOCKET, SCM_RIGHTS, fds)])
    helper.sendall(told[sent:])
    os.close(directory_fd)
    answer, ancillary, _flags, _address = helper.recvmsg(32, 64)
    if not answer.startswith(READY) or not ancillary:
        return None
    pidfd = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
    os.set_inheritable(pidfd, False)
    helper.settimeout(None)
    return int(answer[1:]), pidfd


def _relay_signals(pid: int, pidfd: int) -> None:
    """The terminal and others speak to us, not to the fork: it has no controlling terminal, and is in a group of its own."""
    import _signal  # type: ignore[import-not-found]

    def to_group(signum: int, _frame: object) -> None:  # the terminal sends these to a whole group
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            return  # it has ended, which `_wait` sees

    def to_command(signum: int, _frame: object) -> None:
        try:
            _signal.pidfd_send_signal(pidfd, signum)
        except ProcessLookupError:
            return  # it has ended, which `_wait` sees

    def stop(signum: int, _frame: object) -> None:
        to_group(_signal.SIGSTOP, None)
        _signal.signal(signum, _signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        _signal.signal(signum, stop)  # we go on
        to_group(_signal.SIGCONT, None)
        to_command(_signal.SIGWINCH, None)

    relays = {_signal.SIGTSTP: stop}
    relays |= dict.fromkeys((_signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP), to_group)
    relays |= dict.fromkeys((_signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGWINCH), to_command)
    for signum, relay in relays.items():
        if _signal.getsignal(signum) != _signal.SIG_IGN:  # nohup(1)
            _signal.signal(signum, relay)


def _wait(helper: Socket, pidfd: int) -> int:
    """Let the fork go, and wait for its end. Returns its exit code; dies of the signal that it died of."""
    helper.send(GO)
    answer = helper.recv(32)
    if answer.startswith(DONE):
        return int(answer[1:])
    if answer.startswith(DIED):
        import _signal

        signum = int(answer[1:])
        if signum not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(signum, _signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        return 128 + signum
    os.write(2, b"launch: the process that did this command was killed; `launch ps` shows what runs\n")
    return 137


def _have_standard_streams() -> None:
    """Started with a closed stdin, stdout or stderr: the next file that is opened would get its number, and our words with it."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null_fd = os.open(os.devnull, os.O_RDWR)
            if null_fd == fd:
                os.set_inheritable(fd, True)
            else:
                os.dup2(null_fd, fd)
                os.close(null_fd)
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", closefd=False))


if __name__ == "__main__":
    main()
