"""System calls and special files that a program with the image in its hand tries first. One container for many attempts."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel.processes import NEWUTS
from tests.kernel.attacks import TOOLS, attacked, done
from tests.kernel.forked import forked
from tests.kernel.test_container_rootless import KINDS, as_user, home, kinds

__all__ = ["home"]

# x86-64's number, aarch64's number, arguments that would mean something if the call were made.
CALLS = """
ONE = {"aarch64": 1}.get(os.uname().machine, 0)
def numbered(*numbers):
    return numbers[ONE]
buffer = ctypes.create_string_buffer(4096)
calls = {
    "mount a tmpfs": (numbered(165, 40), b"none", b"/tmp", b"tmpfs", 0, None),
    "remount / writable": (numbered(165, 40), b"none", b"/", b"", 32, None),
    "bind the root": (numbered(165, 40), b"/", b"/tmp", b"", 4096, None),
    "mount cgroup v1 for its release_agent": (numbered(165, 40), b"cgroup", b"/tmp", b"cgroup", 0, b"rdma"),
    "mount cgroup v2": (numbered(165, 40), b"cgroup2", b"/tmp", b"cgroup2", 0, None),
    "unmount a mask": (numbered(166, 39), b"/proc/keys", 2),
    "unmount /proc": (numbered(166, 39), b"/proc", 2),
    "pivot_root": (numbered(155, 41), b"/", b"/tmp"),
    "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -100, b"/proc", -100, b"/tmp", 0),
    "fsopen": (430, b"proc", 0),
    "mount_setattr": (442, -100, b"/", 0, buffer, 32),
    "unshare a user namespace": (numbered(272, 97), 0x10000000),
    "unshare a mount namespace": (numbered(272, 97), 0x20000),
    "clone a user namespace": (numbered(56, 220), 0x10000000 | 17, 0, 0, 0, 0),
    "clone a network namespace": (numbered(56, 220), 0x40000000 | 17, 0, 0, 0, 0),
    "clone3": (435, buffer, 88),
    "setns": (numbered(308, 268), 0, 0x20000),
    "open_by_handle_at": (numbered(304, 265), -100, buffer, 0),
    "keyctl": (numbered(250, 219), 0, -3, 0),
    "add_key": (numbered(248, 217), b"user", b"x", b"y", 1, -3),
    "request_key": (numbered(249, 218), b"user", b"x", None, -3),
    "bpf": (numbered(321, 280), 0, buffer, 64),
    "perf_event_open": (numbered(298, 241), buffer, 0, -1, -1, 0),
    "userfaultfd": (numbered(323, 282), 1),
    "io_uring_setup": (425, 8, buffer),
    "io_uring_enter": (426, 0, 0, 0, 0, None),
    "dmesg by syslog": (numbered(103, 116), 3, buffer, 4096),
    "init_module": (numbered(175, 105), buffer, 1, b""),
    "finit_module": (numbered(313, 273), 0, b"", 0),
    "delete_module": (numbered(176, 106), b"ext4", 0),
    "kexec_load": (numbered(246, 104), 0, 0, None, 0),
    "reboot": (numbered(169, 142), 0xFEE1DEAD - (1 << 32), 672274793, 0x4321FEDC, None),
    "swapon": (numbered(167, 224), b"/tmp/x", 0),
    "acct": (numbered(163, 89), None),
    "quotactl": (numbered(179, 60), 0, b"/dev/vda", 0, buffer),
    "settimeofday": (numbered(164, 170), buffer, None),
    "clock_settime": (numbered(227, 112), 0, buffer),
    "sethostname": (numbered(170, 161), b"x", 1),
    "kcmp": (numbered(312, 272), 1, 1, 0, 0, 0),
    "process_madvise": (440, 0, buffer, 1, 20, 0),
    "move_pages": (numbered(279, 239), 1, 0, None, None, None, 0),
    "migrate_pages": (numbered(256, 238), 1, 0, None, None),
    "nfsservctl, long gone": (numbered(180, 42), 0, None, None),
    "personality ADDR_NO_RANDOMIZE": (numbered(135, 92), 0x0040000),
    "fanotify_init": (numbered(300, 262), 0, 0),
    "vhangup": (numbered(153, 58),),
    "a call of next year": (900,),
    "an x32 call": (0x40000000 + 39,) if ONE == 0 else (900,),
}
for name, (number, *arguments) in calls.items():
    arguments = [ctypes.c_char_p(one) if isinstance(one, bytes) or one is None else one for one in arguments]
    tried(name, lambda: system_call(number, *arguments))
"""

FILES = """
READ = '''
    kcore keys timer_list interrupts sched_debug latency_stats kmsg kpagecount kpageflags vmallocinfo slabinfo
    1/mem 1/environ 1/maps 1/stack 1/auxv 1/syscall 1/pagemap
'''
WRITE = '''
    sys/kernel/core_pattern sys/kernel/modprobe sys/kernel/hotplug sys/kernel/yama/ptrace_scope sys/vm/overcommit_memory
    sys/net/ipv4/ip_forward sys/kernel/hostname sys/fs/binfmt_misc/register sysrq-trigger irq/default_smp_affinity bus/pci fs/ext4
    1/oom_score_adj 1/comm 1/uid_map 1/setgroups 1/timens_offsets 1/clear_refs kcore keys
'''
WRITE_SYS = '''
    kernel/uevent_helper kernel/mm/transparent_hugepage/enabled power/state block/vda/uevent module/ext4/uevent
    fs/cgroup/release_agent fs/cgroup/cgroup.procs class/net/lo/mtu bus/pci/rescan
'''
for name in READ.split():
    tried("read /proc/" + name, content("/proc/" + name))
for name in WRITE.split():
    if os.path.isfile("/proc/" + name) and os.stat("/proc/" + name).st_rdev != os.makedev(1, 3):
        tried("write /proc/" + name, written("/proc/" + name))
for name in WRITE_SYS.split():
    tried("write /sys/" + name, written("/sys/" + name))
answer["list /sys/firmware"] = "done" if os.path.exists("/sys/firmware") and os.listdir("/sys/firmware") else "refused"
NODES = {"disk": (stat.S_IFBLK, 254, 0), "sda": (stat.S_IFBLK, 8, 0), "mem": (stat.S_IFCHR, 1, 1), "null": (stat.S_IFCHR, 1, 3)}
for name, (kind, *numbers) in NODES.items():
    tried("mknod " + name, lambda: os.mknod("/tmp/" + name, kind | 0o666, os.makedev(*numbers)))
DEVICES = "mem kmem port kmsg vda sda nvme0n1 fuse net/tun kvm loop-control console tty0 vhost-net uinput"
for name in DEVICES.split():
    tried("open /dev/" + name, lambda: os.close(os.open("/dev/" + name, os.O_RDONLY)))
for name in ("cwd", "root", "exe", "fd/3", "ns/mnt"):
    tried("follow /proc/1/" + name, lambda: os.stat("/proc/1/" + name))
tried("list /proc/1/map_files", lambda: os.listdir("/proc/1/map_files"))
tried("list /proc/1/fd", lambda: os.listdir("/proc/1/fd"))
answer["devices"] = "refused" if not [one for one in os.listdir("/dev") if one in ("console", "mem", "kmsg", "fuse")] else "there"
"""

PROCESSES = """
ours = struct.pack("QQ", ctypes.addressof(buffer), 8)  # where a fork of the same program would have it, too
for name, call in {
    "ptrace init": lambda: system_call(numbered(101, 117), 16, 1, 0, 0),
    "seize init": lambda: system_call(numbered(101, 117), 0x4206, 1, 0, 0),
    "read init's memory": lambda: system_call(numbered(310, 270), 1, ours, 1, ours, 1, 0),
    "write init's memory": lambda: system_call(numbered(311, 271), 1, ours, 1, ours, 1, 0),
    "write a map of ids": lambda: os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 0 1"),
    "take init's descriptor": lambda: system_call(438, os.pidfd_open(1), 3, 0),
    "open init's memory": lambda: os.close(os.open("/proc/1/mem", os.O_RDWR)),
    "kill a process of the machine": lambda: os.kill(int(OUTSIDE), 0),
    "ptrace a process of the machine": lambda: system_call(numbered(101, 117), 16, int(OUTSIDE), 0, 0),
    "hurry init": lambda: os.setpriority(os.PRIO_PROCESS, 1, -5),
    "renice init": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    "renice init's group": lambda: os.setpriority(os.PRIO_PGRP, 1, 19),
    "renice all of root's": lambda: os.setpriority(os.PRIO_USER, 0, 19),
    "pin init": lambda: os.sched_setaffinity(1, {min(os.sched_getaffinity(0))}),
    "make init idle": lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
    "give init other parameters": lambda: os.sched_setparam(1, os.sched_param(0)),
    "give init another schedule": lambda: system_call(numbered(314, 274), 1, struct.pack("IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0), 0),
    "take init's disk time": lambda: system_call(numbered(251, 30), 1, 1, 3 << 13),
    "take the disk time of init's group": lambda: system_call(numbered(251, 30), 2, 1, 3 << 13),
    "take the disk time of all of root's": lambda: system_call(numbered(251, 30), 3, 0, 3 << 13),
    "take init's time by its session": lambda: os.close(os.open("/proc/1/autogroup", os.O_WRONLY)),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "type into a terminal": lambda: fcntl.ioctl(os.openpty()[1], 0x5412, b"x"),
    "TIOCLINUX": lambda: fcntl.ioctl(0, 0x541C, b"\\3"),
    "a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "a vsock to the hypervisor": lambda: socket.socket(40, socket.SOCK_STREAM, 0),
    "the kernel's crypto": lambda: socket.socket(38, socket.SOCK_SEQPACKET, 0),
    "bluetooth": lambda: socket.socket(31, socket.SOCK_RAW, 0),
    "kcm": lambda: socket.socket(41, socket.SOCK_STREAM, 0),
}.items():
    tried(name, call)
"""

pytestmark = pytest.mark.requires("root", "overlayfs", "userns", "proc", "netns", "seccomp")


def _attempts() -> str:
    return f"OUTSIDE = {os.getpid()}\n{CALLS}\n{FILES}\n{PROCESSES}"


def _check(attempts: dict[str, str]) -> None:
    assert {} == done(attempts)
    # EPERM for what is known and refused, ENOSYS for what is too new or hides its flags. EFAULT or EINVAL would be the kernel's
    # word: the call was made, and an accident of our arguments saved us.
    calls = [name for name in attempts if f'"{name}": (' in CALLS]
    assert len(calls) > 40
    assert {} == {name: attempts[name] for name in calls if attempts[name] not in ("refused: EPERM", "refused: ENOSYS")}


@pytest.mark.requires("idmapped-mounts")
def test_no_attack_on_the_kernel_gets_through_in_a_container_of_root_s(tmp_path: Path) -> None:
    """mount, remount, umount, release_agent, namespaces, handles, keys, bpf, perf, userfaultfd, io_uring, modules, clocks;
    special files of /proc, /sys and /dev; ptrace and memory of init and of the machine's processes; sockets; TIOCSTI."""
    _check(attacked(tmp_path, _attempts()))


@pytest.mark.requires("idmapped-mounts")
def test_no_attack_on_the_kernel_gets_through_in_a_build_step(tmp_path: Path) -> None:
    attempts = attacked(tmp_path, _attempts(), build=True)
    # A step keeps CAP_MKNOD, which a user namespace makes void.
    assert not [name for name in attempts if name.startswith("mknod") and attempts[name] != "refused: EPERM"]
    _check(attempts)


@pytest.mark.requires("ordinary-user", "overlay-userns")
@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_on_the_kernel_gets_through_in_a_container_of_an_ordinary_user(home: Path, kind: str) -> None:
    _check(as_user(home, f"from tests.kernel.attacks import attacked\nanswer = attacked(home, {_attempts()!r}, {kinds(kind)})"))


def test_the_same_calls_work_where_nothing_holds_them_back(tmp_path: Path) -> None:
    """The control: what the tests above call refused would be noticed."""
    names = ("unshare a mount namespace", "keyctl", "dmesg by syslog", "sethostname")

    def attack() -> Any:
        found: dict[str, Any] = {}
        exec(f"import os\n{TOOLS}\n{CALLS.partition('for name,')[0]}", found)
        for name in names:
            found["tried"](name, partial(found["system_call"], *found["calls"][name]))
        return found["answer"]

    assert dict.fromkeys(names, "done") == forked(attack, unshare=NEWUTS)
