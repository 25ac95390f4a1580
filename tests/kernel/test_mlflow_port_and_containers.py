"""`network: host` of an ordinary user: to the kernel the program is that user, and gets nothing from his MLflow port."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.kernel import processes
from runtime.network import loopback
from tests.kernel.forked import forked
from tests.kernel.test_container_rootless import as_user, home

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "ordinary-user", "userns", "netns", "proc", "newuidmap", "unshare")

CODE = """
import ctypes, pwd, signal, socket, subprocess, threading
from contextlib import ExitStack, contextmanager
from launcher.tracking.mlflow.loopback_peer import is_outside_containers, peer_of

PR_SET_DUMPABLE = 4
CLONE_FILES, CLONE_NEWUSER, CLONE_NEWNET = 0x400, 0x10000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
listener = socket.create_server(("127.0.0.1", 0))


def unshared(flags):
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def enter_user_namespace(more=0):
    ids = {name: getattr(os, f"get{name}")() for name in ("uid", "gid")}
    unshared(CLONE_NEWUSER | more)
    Path("/proc/self/setgroups").write_text("deny")
    for name, value in ids.items():
        Path(f"/proc/self/{name}_map").write_text(f"0 {value} 1")


def connected():
    return socket.create_connection(listener.getsockname())


def connected_before_becoming_another():
    # As a container's root that has sub-ids may: the socket stays that of whom it was then.
    user = pwd.getpwuid(os.getuid())
    lines = Path("/etc/subuid").read_text().splitlines()
    first = next(line.split(":")[1] for line in lines if line.startswith(user.pw_name + ":"))
    inside, me = os.pipe(), os.getpid()
    helper = os.fork()
    if helper == 0:
        os.read(inside[0], 1)
        os._exit(subprocess.call(["newuidmap", str(me), "0", str(user.pw_uid), "1", "1", first, "1"]))
    unshared(CLONE_NEWUSER)
    os.write(inside[1], b"x")
    assert os.waitpid(helper, 0)[1] == 0
    connection = connected()
    os.setresuid(1, 1, 1)
    return connection


def in_thread_with_files_of_its_own():
    made = threading.Event()
    def connect():
        unshared(CLONE_FILES)
        made.connection = connected()
        made.set()
        threading.Event().wait()
    threading.Thread(target=connect, daemon=True).start()
    made.wait()


@contextmanager
def process(*steps):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            kept = [step() for step in steps]
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    yield
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def hide():
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def judged(*steps):
    with process(*steps):
        server, address = listener.accept()
        with server:
            peer = peer_of(address, listener.getsockname())
            assert peer.uid == os.getuid()
            return is_outside_containers(peer)


answer = {
    "own": judged(connected),
    "own, hidden as sshd is": judged(hide, connected),
    "container": judged(enter_user_namespace, connected),
    "container, hidden": judged(enter_user_namespace, hide, connected),
    "container, in a thread": judged(enter_user_namespace, in_thread_with_files_of_its_own),
    "container, another by then": judged(connected_before_becoming_another),
}
with process(enter_user_namespace):
    answer["own, beside a container"] = judged(connected)
    answer["own thread, beside a container"] = judged(in_thread_with_files_of_its_own)
    answer["hidden, beside a container"] = judged(hide, connected)
with process(lambda: enter_user_namespace(CLONE_NEWNET)):
    answer["hidden, beside a container with another network"] = judged(hide, connected)
"""


def test_only_what_is_surely_outside_of_containers_needs_no_token(home: Path) -> None:
    def asked() -> dict[str, bool]:
        loopback.bring_up()
        # The user's other containers, if there are some, are not seen: the answers are about those of this test.
        return dict(as_user(home, CODE, below=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]))

    assert {
        "own": True,
        "own, hidden as sshd is": True,
        "container": False,
        "container, hidden": False,
        "container, in a thread": False,
        "container, another by then": False,
        "own, beside a container": True,
        "own thread, beside a container": True,
        "hidden, beside a container": False,
        "hidden, beside a container with another network": True,
    } == forked(asked, unshare=processes.NEWNET)
