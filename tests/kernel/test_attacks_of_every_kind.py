"""Attacks that must fail whoever the container's root is: root's range, an ordinary user's subordinate ids, or the one id.

The same code runs as root and as the ordinary user, in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kernel.forked import forked
from tests.kernel.test_container_rootless import KINDS, as_user, home

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "ordinary-user", "overlayfs", "idmapped-mounts", "userns", "proc", "netns", "seccomp")

WHO = [pytest.param("ranged", id="root"), *KINDS]

PRELUDE = """
import os, threading
from pathlib import Path
from runtime.container import lifecycle
from runtime.container.exec_inside import ExecRequest, exec_inside
from runtime.container.handshake import connect_socket
from runtime.errors import ContainerError
from runtime.kernel.id_maps import IdMapKind
from runtime.rootfs.mount_spec import BindMount, TmpfsMount
from tests.kernel.attacks import attacked
from tests.kernel.userland import PYTHON, base_layer, make_spec, run
ONLY = {"kinds": (IdMapKind(KIND),)}
answer = None
"""


def attack(who: str, home: Path, code: str) -> Any:
    """What *code* assigns to `answer`; it makes its containers below `home` with `**ONLY`."""
    prelude = PRELUDE.replace("KIND", repr(who))
    if who != "ranged":
        return as_user(home, f"{prelude}\n{code}")

    def as_root() -> Any:
        names: dict[str, Any] = {"home": home}
        exec(f"{prelude}\n{code}", names)
        return names["answer"]

    return forked(as_root)


@pytest.mark.parametrize("who", WHO)
def test_cve_2025_31133_a_mask_is_no_file_of_the_image(home: Path, who: str) -> None:
    """runc bound the container's own /dev/null over what it masked; an image whose /dev/null is a link chose what that was."""
    code = """
layer = base_layer(home / "layer")
(layer / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
answer = attacked(home, '''
masks = [path for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug") if os.path.exists(path)]
NULL = os.makedev(1, 3)
answer = [os.stat(path).st_rdev == NULL and not open(path, "rb").read(1) for path in masks + ["/dev/null"]]
''', **ONLY)
"""
    answer = attack(who, home, code)
    assert len(answer) > 1
    assert all(answer)


@pytest.mark.parametrize("who", WHO)
def test_cve_2025_52565_a_terminal_is_no_file_of_the_program(home: Path, who: str) -> None:
    """Who is entered with a terminal gets one of devpts, or an error, whatever the program has put in its place."""
    code = """
base_layer(home / "layer")
swap = '''
import os, time
for path, target in (("/dev/ptmx", "/proc/sysrq-trigger"), ("/dev/tty0", "/proc/kcore"), ("/dev/console", "/proc/kcore")):
    try:
        os.path.lexists(path) and os.unlink(path)
        os.symlink(target, path)
    except OSError:
        pass
for path in ("/dev/pts/ptmx", "/dev/pts"):
    try:
        os.rename(path, path + "-old")
        print("renamed", path)
    except OSError:
        pass
print("swapped", flush=True)
time.sleep(60)
'''
spec = make_spec(home, PYTHON, "-I", "-c", swap)
container = lifecycle.create(spec, exit_record=None, init_socket=home / "init.sock", **ONLY)
lifecycle.start(container)
said = os.read(container.stdout_fd, 100).decode()
look = "import os; print(os.ttyname(0), os.major(os.fstat(0).st_rdev))"
with exec_inside(home / "init.sock", ExecRequest((PYTHON, "-I", "-c", look), terminal=(24, 80))) as program:
    shown = os.read(program.stdout, 100).decode().strip()
lifecycle.kill(container)
lifecycle.wait(container)
container.close()
lifecycle.remove_overlay(spec.overlay_dir)
answer = [said, shown]
"""
    assert ["swapped\n", "/dev/pts/0 136"] == attack(who, home, code)


@pytest.mark.parametrize("who", WHO)
def test_cve_2025_52881_what_we_write_to_proc_is_proc(home: Path, who: str) -> None:
    """Neither a mount below /proc nor an image's link there may lead what init writes to another file."""
    code = """
answer = {}
layer = base_layer(home / "layer")
for name, target in (("a mount", "/proc/self/attr"), ("its parent", "/proc"), ("through dots", "/tmp/../proc/sys")):
    try:
        run(make_spec(home, "/usr/bin/true", tmpfs=(TmpfsMount(target),)), **ONLY)
        answer[name] = "done"
    except ContainerError as error:
        answer[name] = "refused"
(layer / "proc").rmdir()
(layer / "proc").symlink_to("/tmp")
try:
    run(make_spec(home, "/usr/bin/true"), **ONLY)
    answer["a link"] = "done"
except ContainerError as error:
    answer["a link"] = "refused"
"""
    answer = attack(who, home, code)
    assert dict.fromkeys(("a mount", "its parent", "through dots", "a link"), "refused") == answer


@pytest.mark.parametrize("who", WHO)
def test_cve_2024_21626_no_working_directory_leads_out(home: Path, who: str) -> None:
    code = """
base_layer(home / "layer")
answer = []
for cwd in ("/proc/self/fd/3", "/proc/self/fd/7", "/proc/1/cwd", "/proc/1/root", "/proc/self/cwd"):
    ended, output = run(make_spec(home, "/usr/bin/true", cwd=cwd), **ONLY)
    answer.append([ended.code, output.startswith("launch: working directory")])
"""
    assert [[126, True]] * 5 == attack(who, home, code)


@pytest.mark.parametrize("who", WHO)
def test_cve_2021_30465_a_race_for_a_mount_s_place_stays_inside(home: Path, who: str) -> None:
    """A sibling swaps a parent of a mount's place, in a directory that both may write, for a link to the machine's files."""
    code = """
base_layer(home / "layer")
shared, victim = home / "shared", home / "victim"
shared.mkdir(); victim.mkdir()
over = threading.Event()
def swap():
    (shared / "real").mkdir()
    while not over.is_set():
        for target in ("real", "../../../../../.." + str(victim)):
            os.symlink(target, shared / "new")
            os.rename(shared / "new", shared / "x")
thread = threading.Thread(target=swap)
thread.start()
try:
    for number in range(6):
        binds = (BindMount(shared, "/cache", readonly=False),)
        try:
            run(make_spec(home, "/usr/bin/true", binds=binds, tmpfs=(TmpfsMount(f"/cache/x/deep{number}"),)), **ONLY)
        except ContainerError:
            continue  # the link led nowhere at that moment
finally:
    over.set()
    thread.join()
answer = os.listdir(victim)
"""
    assert [] == attack(who, home, code)


@pytest.mark.parametrize("network", ["none", "host"])
@pytest.mark.parametrize("who", WHO)
def test_init_s_socket_and_the_gateway_s_listener_are_out_of_reach(home: Path, who: str, network: str) -> None:
    """The program can't find init's socket (who connects there may start programs and follow the run), nor take the gateway's
    listener out of init, nor put a listener of its own beside it and collect its siblings' tokens."""
    program = """
import json
MARK = "init.sock"
found = [line.split()[-1] for line in open("/proc/net/unix") if MARK in line]
paths = [one if one.startswith("/") else "/" + one for one in found] + [SOCKET, "/run/init.sock", "/init.sock"]
for path in paths:
    for family in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        tried(f"connect {path} {family}", lambda: socket.socket(socket.AF_UNIX, family).connect(path))
for name in found:
    tried(f"abstract {name}", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(chr(0) + name))
LISTENING = "0A"
ports = {int(line.split()[1].split(":")[1], 16) for line in open("/proc/net/tcp") if line.split()[3] == LISTENING}
port = int(sys.stdin.readline())
answer["the port is there"] = "refused" if port in ports else "done"
def beside(options):
    def bind():
        one = socket.socket()
        for option in options:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.bind(("127.0.0.1", port))
        one.listen()
    return bind
tried("bind", beside(()))
tried("bind, reusing the address", beside((socket.SO_REUSEADDR,)))
tried("bind, sharing the port", beside((socket.SO_REUSEPORT, socket.SO_REUSEADDR)))
for fd in range(3, 40):
    tried(f"init's descriptor {fd}", lambda: system_call(438, os.pidfd_open(1), fd, 0))
tried("init's descriptors", lambda: os.listdir("/proc/1/fd"))
tried("init's variables", content("/proc/1/environ"))
print(json.dumps(answer))
"""
    code = f"""
from tests.kernel.attacks import TOOLS
import json
base_layer(home / "layer")
words = "import os, sys\\n" + TOOLS + "SOCKET = " + repr(str(home / "init.sock")) + {program!r}
spec = make_spec(home, PYTHON, "-I", "-c", words, network={network!r}, loopback_listener=True)
entry, tell = os.pipe()
container = lifecycle.create(spec, exit_record=None, init_socket=home / "init.sock", stdin=entry, **ONLY)
lifecycle.start(container, env={{"MLFLOW_TRACKING_TOKEN": "a-token-of-the-run"}})
os.write(tell, f"{{container.listener_port}}\\n".encode())
ended = lifecycle.wait(container, timeout_s=60)
os.set_blocking(container.stdout_fd, False)
os.set_blocking(container.stderr_fd, False)
try:
    answer = json.loads(os.read(container.stdout_fd, 1 << 16))
except BlockingIOError:
    answer = {{"the program": os.read(container.stderr_fd, 1 << 16).decode()}}
container.close()
lifecycle.remove_overlay(spec.overlay_dir)
"""
    answer = attack(who, home, code)
    assert len(answer) > 40
    assert {} == {name: ended for name, ended in answer.items() if not ended.startswith("refused")}


@pytest.mark.parametrize("who", WHO)
def test_init_cannot_be_traced_whatever_the_machine_allows(home: Path, who: str) -> None:
    """Also by a program that the image made set-user-id, and by a sibling that has every capability the container gives."""
    code = """
answer = attacked(home, '''
PTRACE, ATTACH, SEIZE = (101 if os.uname().machine == "x86_64" else 117), 16, 0x4206
for name, request in (("attach", ATTACH), ("seize", SEIZE)):
    tried(name, lambda: system_call(PTRACE, request, 1, 0, 0))
tried("memory", lambda: os.close(os.open("/proc/1/mem", os.O_RDWR)))
for name in ("cwd", "root", "exe", "fd/0", "ns/mnt", "map_files"):
    tried("/proc/1/" + name, lambda: os.listdir("/proc/1/" + name) if "map" in name else os.readlink("/proc/1/" + name))
for name in ("oom_score_adj", "coredump_filter", "comm", "timerslack_ns", "autogroup", "loginuid", "attr/current"):
    if os.path.exists("/proc/1/" + name):
        tried("write " + name, lambda: os.write(os.open("/proc/1/" + name, os.O_WRONLY), b"1"))
''', **ONLY)
"""
    answer = attack(who, home, code)
    assert len(answer) > 10
    assert {} == {name: ended for name, ended in answer.items() if not ended.startswith("refused")}
