"""Ways out of a container that worked somewhere once: links of /proc, what lies on the machine's disk, init and its sockets."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.container import lifecycle, spawn
from runtime.container.exec_inside import ExecRequest, exec_inside
from runtime.container.handshake import connect_socket
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ProcessExit
from runtime.kernel import libc, processes
from runtime.kernel.id_maps import IdMapKind
from runtime.rootfs.mount_spec import BindMount
from runtime.rootfs.removal import remove_tree
from tests.kernel.attacks import attacked
from tests.kernel.forked import forked
from tests.kernel.test_container_rootless import KINDS, as_user, home, kinds
from tests.kernel.userland import PYTHON, base_layer, make_spec, run

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns", "seccomp")

WHO = "import os; print(os.readlink('/proc/self/exe'))"


def evil_layer(directory: Path) -> Path:
    """An image whose programs all lead to /proc/self/exe."""
    programs = base_layer(directory / "layer") / "usr/local/bin"
    programs.mkdir(parents=True)
    (programs / "link").symlink_to("/proc/self/exe")
    for name, interpreter in (
        ("script", "/proc/self/exe"),
        ("through-link", "/usr/local/bin/link"),
        ("twice", "/usr/local/bin/script"),
    ):
        (programs / name).write_text(f"#!{interpreter}\n{WHO}\n")
        (programs / name).chmod(0o755)
    return programs


@pytest.mark.parametrize("argv", [("/proc/self/exe", "-c", WHO), ("link", "-c", WHO), ("script",), ("through-link",), ("twice",)])
def test_cve_2019_5736_no_program_of_the_image_is_the_host_s_interpreter(tmp_path: Path, argv: tuple[str, ...]) -> None:
    evil_layer(tmp_path)
    ended, output = run(make_spec(tmp_path, *argv, env={"PATH": "/usr/local/bin:/usr/bin"}), timeout_s=30)
    assert (126, True) == (ended.code, "one of /proc" in output), output


def test_cve_2019_5736_works_where_the_kernel_looks_for_the_interpreter(tmp_path: Path) -> None:
    """The control: a script behind /proc/self/exe is run by whoever executes it, this interpreter."""
    programs = evil_layer(tmp_path)
    said = forked(lambda: subprocess.run([programs / "script"], capture_output=True, text=True, check=True).stdout)
    assert PYTHON == said.strip()


@contextmanager
def running(directory: Path, *argv: str, **changes: Any) -> Iterator[Path]:
    """A container that can be entered through the socket at the path."""
    spec = make_spec(directory, *argv, **changes)
    entrance = directory / "init.sock"
    container = lifecycle.create(spec, exit_record=directory / "exit.json", init_socket=entrance)
    try:
        lifecycle.start(container)
        yield entrance
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)


def said_by(entrance: Path, *argv: str, **changes: Any) -> str:
    with exec_inside(entrance, ExecRequest(argv, **changes)) as program:
        with os.fdopen(os.dup(program.stdout)) as stdout:
            return stdout.read()


def test_cve_2019_5736_nobody_wins_the_race_for_a_program_that_is_entered(tmp_path: Path) -> None:
    """While `launch exec` looks at the program, the container swaps it and its interpreter for links to /proc/self/exe."""
    programs = evil_layer(tmp_path)
    (programs / "sh-script").write_text("#!/usr/local/bin/interpreter\n")
    (programs / "sh-script").chmod(0o755)
    swap = """
import os
for number, name in enumerate(("program", "interpreter")):
    if os.fork() == 0:
        while True:
            for target in ("/usr/bin/true", "/proc/self/exe"):
                os.symlink(target, f"/usr/local/bin/new{number}")
                os.rename(f"/usr/local/bin/new{number}", f"/usr/local/bin/{name}")
os.wait()
"""
    with running(tmp_path, PYTHON, "-I", "-c", swap) as entrance:
        time.sleep(0.3)
        for _ in range(25):
            assert "" == said_by(entrance, "/usr/local/bin/program", "-c", WHO)
            assert "" == said_by(entrance, "/usr/local/bin/sh-script")


@pytest.mark.parametrize("cwd", ["/proc/self/fd/3", "/proc/1/cwd", "/proc/1/root", "/proc/self/cwd"])
def test_cve_2024_21626_no_working_directory_is_a_link_of_proc(tmp_path: Path, cwd: str) -> None:
    layer = base_layer(tmp_path / "layer")
    (layer / "proc/self/fd").mkdir(parents=True)  # what the image shows before /proc is mounted
    ended, output = run(make_spec(tmp_path, "/usr/bin/true", cwd=cwd), timeout_s=30)
    assert (126, True) == (ended.code, output.startswith(f"launch: working directory `{cwd}`")), output


def test_an_owner_that_a_build_step_sets_reaches_no_file_of_init(tmp_path: Path) -> None:
    """chown is answered by init, which must not take /proc/self, /proc/1 or a descriptor for the step's own; nor hang or fall."""
    code = """
CHOWN, FCHOWN = (92, 93) if os.uname().machine == "x86_64" else (None, 55)
def owned(path):
    return system_call(54, -100, path, 5, 5, 0) if CHOWN is None else system_call(CHOWN, path, 5, 5)
os.chdir("/")
PATHS = "proc/self/exe proc/1/exe proc/self/fd/0 proc/self/fd/3 proc/1/fd/3 /proc/self/exe /proc/1/root " + "x" * 5000
for path in PATHS.split():
    tried(path[:20], lambda: owned(ctypes.c_char_p(path.encode())))
for address in (0, 1, 0xFFFFFFFFFFFFFF00, 1 << 63):
    tried(hex(address), lambda: owned(ctypes.c_ulong(address)))
tried("a bad descriptor", lambda: system_call(FCHOWN, -7, 5, 5))
open("/own", "w").close()
os.setxattr("/own", "user.launch.owner", b"garbage:" + b"9" * 40)
owned(ctypes.c_char_p(b"/own"))
for _ in range(100):
    pid = os.fork()
    while pid == 0:
        owned(ctypes.c_char_p(b"/own"))
    time.sleep(0.0003)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""
    host = [Path(PYTHON), tmp_path / "layer"]
    before = [os.listxattr(path) for path in host if path.exists()]
    answer = attacked(tmp_path, code, build=True, kinds=(IdMapKind.SINGLE,))
    assert {} == {name: ended for name, ended in answer.items() if not ended.startswith("refused")}
    assert before == [os.listxattr(path) for path in host if path.exists()][: len(before)]
    assert "user.launch.owner" not in os.listxattr(PYTHON)


def label_of(path: Path) -> bytes:
    return os.getxattr(path, "security.selinux") if "security.selinux" in os.listxattr(path) else b""


def test_a_program_leaves_no_power_on_the_disk(tmp_path: Path) -> None:
    """Root's outputs belong to root on disk: no file there may make others root, by set-user-id or by capabilities."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    code = """
import contextlib, shutil
for name in ("setuid", "setgid", "caps"):
    shutil.copy("/usr/bin/true", "/outputs/" + name)
os.chmod("/outputs/setuid", 0o4755)
os.chmod("/outputs/setgid", 0o2755)
os.mkdir("/outputs/shared")
os.chmod("/outputs/shared", 0o2775)
tried("caps", lambda: os.setxattr("/outputs/caps", "security.capability", struct.pack("<5I", 0x02000001, 0xFFFFFFFF, 0, 0, 0)))
for place in ("setuid", "shared", ""):
    with contextlib.suppress(OSError):  # where a policy is loaded, or no SELinux is in the kernel
        os.setxattr("/outputs/" + place, "security.selinux", b"system_u:object_r:shadow_t:s0")
tried("whiteout", lambda: os.mknod("/outputs/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0)))
"""
    answer = attacked(tmp_path, code, binds=(BindMount(outputs, "/outputs", readonly=False),))
    assert {"caps": "refused: EPERM", "whiteout": "refused: EPERM"} == answer
    assert 0o4755 == (outputs / "setuid").stat().st_mode & 0o7777  # while it runs: the run's directory is private
    lifecycle.reown_to_caller(outputs)
    assert [0o755, 0o755, 0o2775] == [(outputs / name).stat().st_mode & 0o7777 for name in ("setuid", "setgid", "shared")]
    assert [] == [path for path in (outputs, *outputs.iterdir()) if b"shadow_t" in label_of(path)]


ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
SEARCH_KEY = """
KEYCTL = 250 if os.uname().machine == "x86_64" else 219
tried("search", lambda: system_call(KEYCTL, 10, -3, ctypes.c_char_p(b"user"), ctypes.c_char_p(b"launch-test"), 0))
"""


@pytest.mark.parametrize("kept", [False, True], ids=["own", "control: the caller's"])
def test_keys_of_the_caller_s_session_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Even without the filter, which refuses keyctl(2)."""
    monkeypatch.setattr(lifecycle, "program_bytes", lambda *_arguments, **_options: ALLOW_ALL)
    monkeypatch.setattr(spawn, "_is_small", lambda: True)  # a spawn helper knows nothing of what is patched here
    if kept:
        monkeypatch.setattr(processes, "leave_session_keyring", lambda: None)

    def with_key() -> Any:
        libc.join_session_keyring()
        number = {"aarch64": 217}.get(os.uname().machine, 248)
        import ctypes

        key = ctypes.CDLL(None).syscall(number, b"user", b"launch-test", b"secret", 6, ctypes.c_int(-3))
        assert key > 0
        # Whoever possesses it may find it, whatever ids it has.
        ctypes.CDLL(None).syscall({"aarch64": 219}.get(os.uname().machine, 250), 5, key, 0x3F3F3F3F)
        return attacked(tmp_path, SEARCH_KEY)["search"]

    assert ("done" if kept else "refused: ENOKEY") == forked(with_key)


def test_the_machine_s_cgroups_are_hidden_where_the_network_is_the_machine_s(tmp_path: Path) -> None:
    """There /sys is the host's, with everything that is mounted below it."""
    code = """
def listed(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []
answer = [[name for name in listed("/sys/fs/cgroup") if os.path.isdir("/sys/fs/cgroup/" + name)], listed("/sys/kernel/debug")]
"""
    assert [[], []] == attacked(tmp_path, code, network="host")


def test_hostile_words_to_init_end_no_training(tmp_path: Path) -> None:
    """Only the caller can reach init's socket; whatever it says there, the program goes on."""
    words = [
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 50_000,
        b" " * 100_000,
        b'{"signal": "9"}',
        b'{"signal": 9999}',
        b'{"signal": -1}',
        b'{"run": null}',
        b'{"run": {}}',
        b'{"run": {"terminal": true}}',
        b'{"run": {"terminal": false, "argv": 1}}',
        b'{"run": {"terminal": true, "argv": ["x"], "rows": "y", "columns": []}}',
        b'{"adopt": {"a": [1]}}',
    ]
    with running(tmp_path, "/usr/bin/sleep", "60") as entrance:
        callers = [connect_socket(entrance) for _ in words]
        for caller, word in zip(callers, words, strict=True):
            read_end, write_end = os.pipe()
            socket.send_fds(caller, [word], [read_end, write_end, write_end, read_end])
            os.close(read_end)
            os.close(write_end)
        adopter = connect_socket(entrance)
        adopter.send(b'{"adopt": true}')
        assert adopter.recv(4096)
        adopter.send(b"{")
        many = [connect_socket(entrance) for _ in range(64)]
        assert "alive\n" == said_by(entrance, "/usr/bin/echo", "alive")
        assert None is lifecycle.read_exit(tmp_path / "exit.json")
        for one in (*callers, *many, adopter):
            one.close()
        assert "alive\n" == said_by(entrance, "/usr/bin/echo", "alive")


def test_signals_to_init_from_inside_end_nothing(tmp_path: Path) -> None:
    code = """
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in signal.valid_signals():
    os.kill(1, number)
answer = "still there"
"""
    assert "still there" == attacked(tmp_path, code)


def test_limits_of_init_are_not_the_program_s_to_lower(tmp_path: Path) -> None:
    """With a limit of 0 bytes a file init could not write down how the program ended."""
    code = """
import resource
for name in ("FSIZE", "AS", "CPU", "NOFILE", "NPROC"):
    tried(name, lambda: resource.prlimit(1, getattr(resource, "RLIMIT_" + name), (1, 1)))
"""
    assert dict.fromkeys(("FSIZE", "AS", "CPU", "NOFILE", "NPROC"), "refused: EPERM") == attacked(tmp_path, code)


@pytest.mark.requires("ordinary-user", "overlay-userns")
@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_5736_no_program_is_the_ordinary_user_s_own_interpreter(home: Path, kind: str) -> None:
    """Whose file it may be: there the attack would write into it."""
    code = f"""
spec = make_spec(home, "/proc/self/exe", "-c", {WHO!r})
ended, output = run(spec, {kinds(kind)})
answer = [ended.code, output]
"""
    code, output = as_user(home, code)
    assert (126, True) == (code, "one of /proc" in output), output


def test_small_file_systems_of_the_container_are_small(tmp_path: Path) -> None:
    """Floods of /dev end at its size, those of /dev/shm at what was asked for; a mask holds nothing."""
    code = """
def filled(path):
    size = 0
    try:
        with open(path + "/flood", "wb", buffering=0) as file:
            while size < 64 << 20:
                size += file.write(bytes(1 << 16))
    except OSError as error:
        assert error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES), error
    return size
answer = [filled(path) for path in ("/dev", "/dev/shm", "/proc/acpi", "/sys/firmware") if os.path.isdir(path)]
"""
    dev, shm, *masks = attacked(tmp_path, code, shm_bytes=4 << 20)
    assert dev <= 1 << 20
    assert shm <= 4 << 20
    assert not any(masks)


def test_outputs_of_any_depth_and_name_are_given_back_and_removed(tmp_path: Path) -> None:
    """Directories deeper than Python's stack, names that are no text, pipes, links to the host's files."""
    outputs, secret = tmp_path / "outputs", tmp_path / "secret"
    outputs.mkdir()
    secret.write_text("the host's")
    secret.chmod(0o4600)
    code = f"""
for top in ("/outputs", "/tmp"):
    os.chdir(top)
    open(b"odd\\xff\\n\\x1b[31m", "w").close()
    os.mkfifo("pipe")
    os.symlink({str(secret)!r}, "link")
    os.mkdir("closed", 0)
    for _ in range(2500):
        os.mkdir("d")
        os.chdir("d")
    open("deep", "w").close()
    os.chmod("deep", 0o4755)
"""
    spec = make_spec(tmp_path, PYTHON, "-I", "-c", f"import os{code}", binds=(BindMount(outputs, "/outputs", readonly=False),))
    assert ProcessExit(0, None) == run_to_completion(spec, timeout_s=60)[0]
    lifecycle.reown_to_caller(outputs)
    deep = subprocess.run(["find", outputs, "-name", "deep", "-printf", "%m"], capture_output=True, text=True, check=True)
    assert "755" == deep.stdout
    assert (0o4600, "the host's") == (secret.stat().st_mode & 0o7777, secret.read_text())
    lifecycle.remove_overlay(spec.overlay_dir)
    assert not spec.overlay_dir.exists()
    remove_tree(outputs)
    assert secret.exists()
