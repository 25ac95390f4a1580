"""Containers of an ordinary user: with a single id, and with sub-ids through newuidmap. Run as root becoming `launchtest`."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runtime.rootfs.overlay import OverlayStrategy
from tests.kernel.overlay_strategies import skip_unless_here

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.requires("root", "ordinary-user", "overlay-userns", "proc")

KINDS = [
    pytest.param("single", id="one id"),
    pytest.param("subids", id="sub-ids", marks=pytest.mark.requires("newuidmap")),
]


def _python() -> str | None:
    """An interpreter that another user may start."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        found = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if found and os.path.realpath(found).startswith("/usr") and _new_enough(found):
            return found
    return None


def _new_enough(program: str) -> bool:
    return subprocess.run([program, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode == 0


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's, on a file system with room for an overlay."""
    directory = Path(tempfile.mkdtemp(prefix="launch-rootless-"))
    user = pwd.getpwnam("launchtest")
    os.chown(directory, user.pw_uid, user.pw_gid)
    yield directory
    shutil.rmtree(directory)


def as_user(home: Path, code: str, *, below: Sequence[str] = ()) -> Any:
    """What *code* assigns to `answer`, run as the ordinary user, as the command of *below*; `home` and `KIND` are there."""
    python = _python()
    if python is None or not os.access(REPOSITORY, os.R_OK):
        pytest.skip("no interpreter that another user can start")
    user = pwd.getpwnam("launchtest")
    prelude = f"""
import json, os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from runtime.container import lifecycle
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ProcessExit
from runtime.kernel.id_maps import IdMapKind
from runtime.rootfs.overlay import OverlayStrategy
from runtime.rootfs.mount_spec import BindMount, TmpfsFile
from tests.kernel.userland import inside, make_spec, python_spec, run
home = Path({str(home)!r})
"""
    become = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": user.pw_dir,
        "LAUNCH_HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SECRET_TOKEN": "hunter2",
    }
    argv = [*below, *become, python, "-c", f"{prelude}\n{code}\nprint(json.dumps(answer))"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=120, cwd="/")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def kinds(kind: str) -> str:
    return f"kinds=(IdMapKind({kind!r}),)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_is_root_inside(home: Path, kind: str) -> None:
    code = "answer = [os.getuid(), [line.split() for line in open('/proc/self/uid_map')], open('/etc/hostname').read()]"
    uid, uid_map, hostname = as_user(home, f"answer = inside(home, {code!r}, {kinds(kind)})")
    assert 0 == uid
    assert ["0", str(pwd.getpwnam("launchtest").pw_uid), "1"] == uid_map[0]
    assert {"single": 1, "subids": 2}[kind] == len(uid_map)
    assert "launch\n" == hostname


@pytest.mark.parametrize("kind", KINDS)
def test_the_caller_s_environment_stays_unread(home: Path, kind: str) -> None:
    """PID 1 has the program's own uid: only that it can't be dumped keeps its environment secret."""
    code = """
try:
    answer = open("/proc/1/environ").read()
except PermissionError:
    answer = "refused"
"""
    assert "refused" == as_user(home, f"answer = inside(home, {code!r}, {kinds(kind)})")


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_belong_to_the_caller(home: Path, kind: str) -> None:
    code = f"""
(home / "out").mkdir()
bind = BindMount(home / "out", "/outputs", readonly=False)
inside(home, "open('/outputs/x', 'w').close(); answer = 0", binds=(bind,), {kinds(kind)})
answer = [(home / "out" / "x").stat().st_uid == os.getuid(), (home / "overlay").exists()]
"""
    assert [True, False] == as_user(home, code)


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_mount_can_only_be_read(home: Path, kind: str) -> None:
    inner = """
try:
    open("/data/x", "w")
    answer = "written"
except OSError as error:
    answer = error.strerror
"""
    code = f"""
(home / "data").mkdir()
answer = inside(home, {inner!r}, binds=(BindMount(home / "data", "/data"),), {kinds(kind)})
"""
    assert "Read-only file system" == as_user(home, code)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["DESCRIPTORS", "OPTIONS"])
def test_every_strategy_stacks_layers(home: Path, kind: str, strategy: str) -> None:
    skip_unless_here(OverlayStrategy[strategy])
    code = f"""
from tests.kernel.userland import base_layer
layers = [base_layer(home / "l0")]
for number in range(1, 40):
    (home / f"l{{number}}" / "etc").mkdir(parents=True)
    (home / f"l{{number}}" / "etc" / "top").write_text(str(number))
    layers.append(home / f"l{{number}}")
chosen = dict({kinds(kind)}, strategies=(OverlayStrategy.{strategy},))
answer = inside(home, "answer = open('/etc/top').read()", layers=tuple(layers), **chosen)
"""
    assert "39" == as_user(home, code)


def test_with_one_id_a_build_s_chown_and_setuid_succeed_without_effect(home: Path) -> None:
    inner = """
open("/x", "w").close()
os.chown("/x", 33, 33)
os.setgid(42)
os.setuid(42)
answer = [os.stat("/x").st_uid, os.getuid()]
"""
    assert [0, 0] == as_user(home, f"answer = inside(home, {inner!r}, build=True, {kinds('single')})")


def test_with_one_id_a_program_s_chown_fails_as_the_kernel_says(home: Path) -> None:
    inner = """
open("/tmp/x", "w").close()
try:
    os.chown("/tmp/x", 33, 33)
    answer = "done"
except OSError as error:
    answer = error.strerror
"""
    assert "Invalid argument" == as_user(home, f"answer = inside(home, {inner!r}, {kinds('single')})")


@pytest.mark.requires("newuidmap")
def test_with_sub_ids_owners_are_real_and_can_be_told_from_the_disk(home: Path) -> None:
    code = f"""
from runtime.kernel import id_maps
spec = python_spec(home, "import os; open('/x', 'w').close(); os.chown('/x', 33, 8)", build=True)
run_to_completion(spec, {kinds("subids")})
found = (spec.overlay_dir / "u" / "x").lstat()
maps = id_maps.choose()
answer = [maps.uids.outside(33) == found.st_uid, maps.gids.outside(8) == found.st_gid]
lifecycle.remove_overlay(spec.overlay_dir)
"""
    assert [True, True] == as_user(home, code)


@pytest.mark.requires("newuidmap")
def test_with_sub_ids_outputs_of_another_user_are_given_back(home: Path) -> None:
    code = f"""
(home / "out").mkdir()
(home / "out").chmod(0o777)
bind = BindMount(home / "out", "/outputs", readonly=False)
program = "os.mkdir('/outputs/d', 0o700); open('/outputs/d/x', 'w').close(); answer = 0"
inside(home, program, binds=(bind,), uid=33, gid=33, {kinds("subids")})
before = (home / "out" / "d").stat().st_uid == os.getuid()
lifecycle.reown_to_caller(home / "out")
answer = [before, [path.stat().st_uid == os.getuid() for path in (home / "out").rglob("*")]]
"""
    assert [False, [True, True]] == as_user(home, code)


def test_with_one_id_another_user_is_the_caller(home: Path) -> None:
    inner = "open(os.path.expanduser('~/x'), 'w').close(); answer = [os.getuid(), os.getgid()]"
    assert [1234, 4321] == as_user(home, f"answer = inside(home, {inner!r}, uid=1234, gid=4321, {kinds('single')})")


@pytest.mark.parametrize("kind", KINDS)
def test_network_host_works(home: Path, kind: str) -> None:
    inner = "answer = sorted(os.listdir('/sys/class/net'))"
    assert sorted(os.listdir("/sys/class/net")) == as_user(
        home, f"answer = inside(home, {inner!r}, network='host', {kinds(kind)})"
    )


def test_network_bridge_is_refused_with_the_way_out(home: Path) -> None:
    code = """
from runtime.errors import Unsupported
try:
    run(make_spec(home, "true", network="bridge"))
    answer = None
except Unsupported as error:
    answer = [error.message, error.hint]
"""
    message, hint = as_user(home, code)
    assert "bridge" in message
    assert "network=host" in hint


@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_s_listener_is_handed_out(home: Path, kind: str) -> None:
    code = f"""
import socket
program = "import os, socket; print(socket.create_connection(('127.0.0.1', int(os.environ['PORT']))).recv(9))"
container = lifecycle.create(python_spec(home, program, loopback_listener=True), exit_record=None, {kinds(kind)})
lifecycle.start(container, env={{"PORT": str(container.listener_port)}})
listener = socket.socket(fileno=os.dup(container.listener_fd))
connection, _ = listener.accept()
connection.sendall(b"hello")
connection.close()
ended = lifecycle.wait(container)
answer = [ended.code, os.read(container.stdout_fd, 99).decode()]
lifecycle.remove_overlay(home / "overlay")
"""
    assert [0, "b'hello'\n"] == as_user(home, code)


@pytest.mark.parametrize("kind", KINDS)
def test_an_init_that_ends_before_it_has_its_maps_has_the_last_word(home: Path, kind: str) -> None:
    """The maps of a dead process can't be written either; that is not what failed."""
    answer = f"""
from runtime.cgroup.cgroup import Cgroup
gone = Cgroup("gone", {{"memory": home / "gone"}})
answer = None
for _ in range(5):
    try:
        lifecycle.create(make_spec(home, "true"), exit_record=None, cgroup=gone, {kinds(kind)})
    except Exception as error:
        assert answer in (None, str(error)), (answer, error)
        answer = str(error)
"""
    assert "/gone`: no such file or directory" in as_user(home, answer)
