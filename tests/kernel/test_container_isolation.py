"""What a program in a container sees and may do, told by itself; run as root with id-mapped layers."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from runtime.container import lifecycle
from runtime.errors import ContainerError
from runtime.kernel import capabilities, libc, namespaces
from runtime.kernel.id_maps import RANGE_BASE
from runtime.rootfs.overlay import LADDER, Rung
from runtime.rootfs.wanted import BindMount, DeviceNode, TmpfsFile, TmpfsMount
from tests.kernel.userland import base_layer, inside, make_spec, python_spec, run

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
        assert capabilities.PROGRAM_CAPABILITIES == capabilities.names_in(int(status[one], 16)), one
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


def test_a_read_only_mount_is_locked_even_for_full_root_of_the_container(tmp_path: Path) -> None:
    """Entered from outside with every capability, the data mount can neither be made writable nor taken away."""
    data = tmp_path / "data"
    data.mkdir()
    spec = make_spec(tmp_path, "sleep", "60", binds=(BindMount(data, "/data/set"),))
    container = lifecycle.create(spec, exit_record=None)
    try:
        tried = _as_container_root(container.pid)
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)
    assert {"clear": "PermissionError", "umount": "KernelError", "write": "OSError"} == tried


def _as_container_root(pid: int) -> dict[str, str]:
    import json

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Both are opened before the user namespace changes: from inside, the other would not be ours to open.
        tried = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")}
        libc.setns(tried.pop("user"), namespaces.NEWUSER)
        libc.setns(tried.pop("mnt"), namespaces.NEWNS)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        found = {}
        for name, attempt in (
            ("clear", lambda: libc.mount_setattr(libc.AT_FDCWD, "/data/set", 0, clear=1)),
            ("umount", lambda: libc.umount("/data/set", 2)),
            ("write", lambda: os.open("/data/set/x", os.O_CREAT | os.O_WRONLY)),
        ):
            try:
                attempt()
            except OSError as error:
                found[name] = (
                    type(error).__name__.removeprefix("Kernel") if isinstance(error, PermissionError) else type(error).__name__
                )
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    answer: dict[str, str] = json.loads(os.read(reader, 4096))
    os.close(reader)
    os.close(writer)
    return answer


@pytest.mark.parametrize(
    "owner", [0, 1000, 65533, 100_000], ids=["root", "a user", "near the end of the range", "above the range"]
)
def test_files_of_container_root_belong_to_the_owner_of_the_mount(tmp_path: Path, owner: int) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    os.chown(outputs, owner, owner)
    seen = inside(
        tmp_path,
        "open('/outputs/x', 'w').close(); answer = [os.stat('/outputs').st_uid, os.stat('/outputs/x').st_uid]",
        binds=(BindMount(outputs, "/outputs", readonly=False),),
    )
    assert [0, 0] == seen
    assert (owner, owner) == (os.stat(outputs / "x").st_uid, os.stat(outputs / "x").st_gid)


def test_files_of_another_user_are_given_back_at_the_end(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    os.chown(outputs, 1000, 1000)
    outputs.chmod(0o777)
    inside(
        tmp_path,
        "os.makedirs('/outputs/a/b'); os.symlink('/etc/passwd', '/outputs/a/link'); answer = None",
        binds=(BindMount(outputs, "/outputs", readonly=False),),
        uid=33,
        gid=33,
    )
    assert 33 == (outputs / "a").stat().st_uid
    before = os.stat("/etc/passwd").st_uid
    lifecycle.reown_to_caller(outputs)
    assert {1000} == {path.lstat().st_uid for path in outputs.rglob("*")}
    assert before == os.stat("/etc/passwd").st_uid


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


def test_a_tmpfs_has_its_size_and_mode(tmp_path: Path) -> None:
    code = "s, t = os.statvfs('/scratch'), os.stat('/scratch'); answer = [s.f_blocks * s.f_frsize, oct(t.st_mode), t.st_uid]"
    assert [1 << 20, "0o41777", 0] == inside(tmp_path, code, tmpfs=(TmpfsMount("/scratch", size_bytes=1 << 20, mode=0o1777),))


def test_small_files_cover_entries_of_proc(tmp_path: Path) -> None:
    assert "covered" == inside(tmp_path, "answer = open('/proc/version').read()", masked_proc=(("/proc/version", "covered"),))


def test_driver_libraries_lie_read_only_at_their_place(tmp_path: Path) -> None:
    libraries = tmp_path / "driver"
    (libraries / "lib64").mkdir(parents=True)
    (libraries / "lib64" / "libcuda.so.1").write_text("x")
    code = "answer = [os.listdir('/usr/local/nvidia/lib64'), bool(os.statvfs('/usr/local/nvidia').f_flag & os.ST_RDONLY)]"
    assert [["libcuda.so.1"], True] == inside(tmp_path, code, library_dir=libraries)


def test_a_link_in_the_image_cannot_lead_a_mount_out_of_it(tmp_path: Path) -> None:
    """`/data -> /../../…/outside` is resolved as if the image's root were the machine's."""
    outside, inside_target = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    inside_target.mkdir()
    (inside_target / "mark").touch()
    layer = base_layer(tmp_path / "layer")
    (layer / "data").symlink_to("../../../../../.." + str(outside))
    (layer / str(outside).lstrip("/")).mkdir(parents=True)
    seen = inside(
        tmp_path, f"answer = [os.listdir('/data'), os.listdir({str(outside)!r})]", binds=(BindMount(inside_target, "/data"),)
    )
    assert [["mark"], ["mark"]] == seen
    assert [] == os.listdir(outside)


def test_proc_as_a_link_in_the_image_is_still_the_container_s(tmp_path: Path) -> None:
    """An image with `/proc -> /elsewhere` gets /proc mounted there, inside (CVE-2019-19921)."""
    layer = base_layer(tmp_path / "layer")
    (layer / "proc").rmdir()
    (layer / "proc").symlink_to("/elsewhere")
    (layer / "elsewhere").mkdir()
    assert "launch-init\n" == inside(tmp_path, "answer = open('/proc/1/comm').read()")


def test_a_read_only_root_is_read_only(tmp_path: Path) -> None:
    code = """
try:
    open("/x", "w")
    answer = "written"
except OSError as error:
    answer = error.strerror
"""
    assert "Read-only file system" == inside(tmp_path, code, readonly_root=True)


@pytest.mark.parametrize("rung", LADDER, ids=[rung.name.lower() for rung in LADDER])
def test_every_rung_stacks_the_layers_in_order_and_keeps_the_disk_zero_based(tmp_path: Path, rung: Rung) -> None:
    layers = [base_layer(tmp_path / "layers" / "0")]
    for number in range(1, 60):
        layer = tmp_path / "layers" / str(number)
        (layer / "etc").mkdir(parents=True)
        (layer / "etc" / "top").write_text(str(number))
        (layer / "etc" / f"of-{number}").touch()
        os.chown(layer / "etc" / f"of-{number}", number, number)
        layers.append(layer)
    (layers[1] / "gone").touch()
    os.mknod(layers[2] / "gone", stat.S_IFCHR, 0)
    spec = python_spec(
        tmp_path,
        "import os; print(open('/etc/top').read(), os.stat('/etc/of-7').st_uid, os.path.exists('/gone'));"
        "os.chown('/etc/of-8', 5, 6); open('/new', 'w').close()",
        layers=tuple(layers),
        build=True,
    )
    from runtime.container.run_once import run_to_completion

    _ended, output = run_to_completion(spec, rungs=(rung,))
    assert "59 7 False\n" == output.decode()
    upper = spec.overlay_dir / "u"
    assert (0, 0) == (os.stat(upper / "new").st_uid, os.stat(upper / "new").st_gid)
    assert (5, 6) == (os.stat(upper / "etc/of-8").st_uid, os.stat(upper / "etc/of-8").st_gid)
    lifecycle.remove_overlay(spec.overlay_dir)


def test_a_build_step_leaves_none_of_our_mount_points(tmp_path: Path) -> None:
    from runtime.container.run_once import run_to_completion

    spec = make_spec(tmp_path, "touch", "/etc/mine", build=True, tmpfs_files=(TmpfsFile("/run/launch/env", b"x"),))
    run_to_completion(spec)
    upper = spec.overlay_dir / "u"
    assert {"etc", "etc/mine", "run"} == {str(path.relative_to(upper)) for path in upper.rglob("*")}
    lifecycle.remove_overlay(spec.overlay_dir)


def test_loopback_is_up_without_a_network_and_there_is_nothing_else(tmp_path: Path) -> None:
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname(), timeout=5)
answer = [os.listdir("/sys/class/net"), open("/etc/hosts").read().split()[:2], socket.gethostname()]
"""
    assert [["lo"], ["127.0.0.1", "localhost"], "box"] == inside(tmp_path, code, hostname="box")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param("/proc/x", "`/proc` is the container's own", id="below proc"),
        pytest.param("/a/../b", "not a place for a mount", id="dots"),
        pytest.param("relative", "not a place for a mount", id="relative"),
        pytest.param("/", "not a place for a mount", id="the root itself"),
    ],
)
def test_an_impossible_target_is_named(tmp_path: Path, target: str, words: str) -> None:
    with pytest.raises(ContainerError, match=words):
        run(make_spec(tmp_path, "true", binds=(BindMount(tmp_path, target),)))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"cannot mount `/nope` at `/data`: No such file or directory"):
        run(make_spec(tmp_path, "true", binds=(BindMount(Path("/nope"), "/data"),)))


def test_a_writable_mount_that_cannot_show_owners_is_refused_and_a_read_only_one_warned_about(tmp_path: Path) -> None:
    """proc can't be id-mapped, as NFS and Lustre can't."""
    with pytest.raises(ContainerError, match="can't be mounted writable at `/data`"):
        run(make_spec(tmp_path, "true", binds=(BindMount(Path("/proc/sys"), "/data", readonly=False),)))
    spec = make_spec(tmp_path, "true", binds=(BindMount(Path("/proc/sys"), "/data"),))
    container = lifecycle.create(spec, exit_record=None)
    assert "with its own owners" in container.warnings[0]
    lifecycle.kill(container)
    lifecycle.wait(container)
    container.close()


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
