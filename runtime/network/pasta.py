"""`network: pasta`: a user-mode network stack by the program of that name (passt.top), for who may not make a bridge.

It reads and writes a tap device in the container's network namespace and makes sockets of the host's from what it sees there. The
container has the host's own addresses; connections to the host itself are not forwarded.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NoReturn

from runtime.errors import NetworkError, Unsupported
from runtime.kernel import capabilities, libc, mounts, processes
from runtime.network.name_servers import PASTA_SERVER

PROGRAM = "pasta"

_READY_WITHIN_S = 10.0
_PR_SET_PDEATHSIG, _KILL = 1, 9
_PR_CAP_AMBIENT, _RAISE = 47, 2
_KEPT = frozenset({"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"})
_SCRATCH = Path("/tmp")
_WORDS_BYTES = 1000
_MS_NOSUID, _MS_NODEV, _MS_BIND = 2, 4, 4096


def program(*, tun: Path = Path("/dev/net/tun")) -> str:
    """Path of `pasta`. Raises Unsupported where it cannot work."""
    found = shutil.which(PROGRAM, path=os.environ.get("PATH", os.defpath))
    if found is None:
        raise Unsupported(
            "`network: pasta` needs the program `pasta`", hint="install the package `passt`; `network=host` needs nothing"
        )
    if not os.access(tun, os.R_OK | os.W_OK):
        why = "cannot be opened by you" if tun.exists() else "is not there"
        hint = "`chmod 0666 /dev/net/tun` as root (it gives no rights by itself)" if tun.exists() else "`modprobe tun` as root"
        raise Unsupported(f"`network: pasta` needs `{tun}`, which {why}", hint=f"{hint}; `network=host` needs nothing")
    return found


def start(path: str, *, netns_fd: int, userns_fd: int | None) -> int:
    """Start pasta at *path* for the network namespace *netns_fd* and wait until that is connected; its number. It ends with us.

    This process moves into the user namespace *userns_fd* that owns the network namespace (None for root), and into a mount
    namespace of its own: pasta opens no namespace by a descriptor, and none of a process that may not be looked into.
    """
    if userns_fd is not None:
        libc.setns(userns_fd, processes.NEWUSER)
    libc.unshare(processes.NEWNS)
    mounts.make_private()
    libc.mount("tmpfs", _SCRATCH, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=700")
    netns, ready, words = (_SCRATCH / name for name in ("netns", "ready", "words"))
    netns.touch()
    libc.mount(f"/proc/self/fd/{netns_fd}", netns, "", _MS_BIND)
    argv = [path, "--foreground", "--quiet", "--config-net", "--netns-only", "--netns", str(netns), "--no-netns-quit"]
    argv += ["--pid", str(ready), "--ns-ifname", "eth0", "--no-map-gw", "--dns-forward", PASTA_SERVER]
    argv += [word for option in ("-t", "-u", "-T", "-U") for word in (option, "none")]
    if userns_fd is None:
        argv += ["--runas", "0"]
    parent = os.getpid()
    pid = processes.fork()
    if pid == 0:
        _be_pasta(argv, words, parent)
    deadline = time.monotonic() + _READY_WITHIN_S
    while not (ready.exists() and ready.read_bytes().endswith(b"\n")):
        if os.waitpid(pid, os.WNOHANG)[0] == pid or time.monotonic() > deadline:
            said = words.read_text(errors="replace")[-_WORDS_BYTES:].strip() or "it said nothing"
            raise NetworkError(f"`pasta` could not connect the container: {said}")
        time.sleep(0.001)
    return pid


def _be_pasta(argv: list[str], words: Path, parent: int) -> NoReturn:
    try:
        libc.prctl(_PR_SET_PDEATHSIG, _KILL)
        if os.getppid() != parent:
            os._exit(1)
        said = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number, fd in enumerate((nothing, said, said)):
            os.dup2(fd, number)
        if os.geteuid() != 0:
            # exec drops what an ordinary id of the namespace holds, except what is ambient (capabilities(7)).
            kept = capabilities.mask(_KEPT)
            libc.capset(effective=kept, permitted=kept, inheritable=kept)
            for name in _KEPT:
                libc.prctl(_PR_CAP_AMBIENT, _RAISE, capabilities.NUMBERS[name])
        os.execve(argv[0], argv, {"PATH": os.defpath, "LC_ALL": "C"})
    except BaseException as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(1)
