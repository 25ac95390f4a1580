"""What a program in a container sees and may do, told by itself; run as root with id-mapped layers."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.kernel import capabilities
from runtime.kernel.id_maps import RANGE_BASE
from runtime.rootfs.mount_spec import DeviceNode, TmpfsFile
from tests.kernel.userland import inside, python_spec

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def test_every_namespace_is_its_own(tmp_path: Path) -> None:
    seen = inside(tmp_path, f"answer = {{n: os.readlink('/proc/self/ns/' + n) for n in {NAMESPACES}}}")
    assert [] == [name for name in NAMESPACES if seen[name] == os.readlink(f"/proc/self/ns/{name}")]


def test_network_host_shares_the_network_and_nothing_else(tmp_path: Path) -> None:
    code = f"answer = [{{n: os.readlink('/proc/self/ns/' + n) for n in {NAMESPACES}}}, os.listdir('/sys/class/net')]"
    seen, links = inside(tmp_path, code, network="host")
    assert ["net"] == [name for name in NAMESPACES if seen[name] == os.readlink(f"/proc/self/ns/{name}")]
    assert sorted(os.listdir("/sys/class/net")) == sorted(links)


def test_root_is_an_unprivileged_user_of_the_machine(tmp_path: Path) -> None:
    first_line, uid = inside(tmp_path, "answer = [open('/proc/self/uid_map').read().split(), os.getuid()]")
    assert 0 == uid
    assert "0" == first_line[0]
    assert int(first_line[1]) >= 65536
    assert "65536" == first_line[2]


def test_program_gets_three_descriptors_and_no_lease(tmp_path: Path) -> None:
    spec = python_spec(tmp_path, "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])", loopback_listener=True)
    lease = os.open("/proc/self/status", os.O_RDONLY)  # inheritable or not, it must not arrive
    container = lifecycle.create(spec, exit_record=None, held_fds=(lease,))
    os.close(lease)
    lifecycle.start(container)
    assert b"[0, 1, 2]\n" == os.read(container.stdout_fd, 100)
    lifecycle.wait(container)
    container.close()


def test_capabilities_are_dropped_for_good_and_calls_are_filtered(tmp_path: Path) -> None:
    code = "answer = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"
    status = inside(tmp_path, code)
    for one in ("CapPrm", "CapEff", "CapBnd"):
        assert capabilities.mask(capabilities.PROGRAM_CAPABILITIES) == int(status[one], 16), one
    assert "0000000000000000" == status["CapInh"] == status["CapAmb"]
    assert "1" == status["NoNewPrivs"]
    assert "2" == status["Seccomp"]


def test_init_shows_nothing_of_the_launcher(tmp_path: Path) -> None:
    """PID 1 is a fork of the launcher: its environment, descriptors, memory and arguments are not to be read."""
    code = """
answer = {}
for name in ("environ", "maps", "fd", "exe", "cwd", "cmdline"):
    try:
        path = "/proc/1/" + name
        answer[name] = os.listdir(path) if name == "fd" else os.readlink(path) if name in ("exe", "cwd") else open(path).read()
    except PermissionError:
        answer[name] = None
"""
    seen = inside(tmp_path, code)
    assert "launch-init" == seen.pop("cmdline").rstrip("\0")
    assert dict.fromkeys(("environ", "maps", "fd", "exe", "cwd")) == seen


def test_dangerous_parts_of_proc_and_sys_are_covered(tmp_path: Path) -> None:
    code = """
answer = {"read": [], "written": []}
for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"):
    try:
        answer["read"] += [path] if open(path, "rb").read(1) else []
    except OSError:
        pass
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"):
    try:
        open(path, "w").close()
        answer["written"].append(path)
    except OSError:
        pass
answer["firmware"] = os.listdir("/sys/firmware") if os.path.exists("/sys/firmware") else []
"""
    assert {"read": [], "written": [], "firmware": []} == inside(tmp_path, code)


def test_a_secret_is_readable_inside_and_never_on_disk(tmp_path: Path) -> None:
    spec = python_spec(
        tmp_path,
        "import os; t = '/run/secrets/TOKEN'; print(open(t).read(), oct(os.stat(t).st_mode), os.stat(t).st_uid)",
        tmpfs_files=(TmpfsFile("/run/secrets/TOKEN", b"s3cret"),),
        uid=1234,
        gid=1234,
    )
    container = lifecycle.create(spec, exit_record=tmp_path / "exit.json")
    lifecycle.start(container)
    lifecycle.wait(container)
    assert b"s3cret 0o100400 1234\n" == os.read(container.stdout_fd, 200)
    container.close()
    contents = [path.read_bytes() for path in spec.overlay_dir.rglob("*") if path.is_file()]
    assert [] == [content for content in contents if b"s3cret" in content]
    lifecycle.remove_overlay(spec.overlay_dir)


def test_another_user_has_a_name_a_home_and_no_capability(tmp_path: Path) -> None:
    code = """
import pwd
open(os.path.expanduser("~/x"), "w").close()
caps = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0]
answer = [pwd.getpwuid(os.getuid()).pw_name, os.getgroups(), os.getcwd(), caps, os.access("/", os.W_OK)]
open("here", "w").close()
"""
    assert ["user", [], "/workspace", "0" * 16, False] == inside(tmp_path, code, uid=1234, gid=4321, cwd="/workspace")


def test_devices_are_the_usual_ones_and_those_asked_for(tmp_path: Path) -> None:
    code = """
import stat
answer = [sorted(os.listdir("/dev")), os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize]
open("/dev/null", "w").write("x")
assert len(open("/dev/urandom", "rb").read(4)) == 4
assert stat.S_ISCHR(os.stat("/dev/other").st_mode)
os.close(os.open("/dev/ptmx", os.O_RDWR))
open("/dev/shm/x", "w").close()
"""
    names, shm = inside(tmp_path, code, shm_bytes=8 << 20, devices=(DeviceNode(Path("/dev/zero"), "/dev/other"),))
    usual = {
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert usual | {"other"} == set(names)
    assert 8 << 20 == shm


def test_loopback_is_up_without_a_network_and_there_is_nothing_else(tmp_path: Path) -> None:
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname(), timeout=5)
answer = [os.listdir("/sys/class/net"), open("/etc/hosts").read().split()[:2], socket.gethostname()]
"""
    assert [["lo"], ["127.0.0.1", "localhost"], "box"] == inside(tmp_path, code, hostname="box")


def test_listener_of_the_container_s_loopback_is_served_from_outside(tmp_path: Path) -> None:
    code = """
import os, socket
gateway = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
gateway.sendall(b"hi")
print(gateway.recv(9).decode())
"""
    spec = python_spec(tmp_path, code, loopback_listener=True)
    container = lifecycle.create(spec, exit_record=None)
    assert container.listener_fd is not None
    lifecycle.start(container, env={"PORT": str(container.listener_port)})
    with socket.socket(fileno=os.dup(container.listener_fd)) as listener:
        connection, _ = listener.accept()
        assert b"hi" == connection.recv(9)
        connection.sendall(b"hello")
        connection.close()
    lifecycle.wait(container)
    assert b"hello\n" == os.read(container.stdout_fd, 100)
    container.close()


def test_range_is_above_what_machines_use() -> None:
    assert RANGE_BASE > 0x6FFFFFFF
    assert RANGE_BASE + 65536 < 2**31


def test_a_program_cannot_make_namespaces_or_mounts_of_its_own(tmp_path: Path) -> None:
    """With a user namespace of its own it would have every capability again."""
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "unshare": lambda: libc.unshare(0x10000000),
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "umount": lambda: libc.umount2(b"/proc", 2),
    "open_tree": lambda: libc.syscall(428, -100, b"/", 1),
    "setns": lambda: libc.setns(0, 0),
}
answer = {}
for name, call in calls.items():
    answer[name] = [call(), os.strerror(ctypes.get_errno())]
"""
    seen = inside(tmp_path, code)
    assert {name: [-1, "Operation not permitted"] for name in seen} == seen
