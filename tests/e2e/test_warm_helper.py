"""The process that stays and forks the next commands: whom it serves, how, and what happens when it can't."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from launch_command import Launch, write_project
from terminal_session import TerminalSession
from waiting import eventually

from launcher.run.start.warm_helpers import HELPER_TITLE, WarmHelper, find_helpers

pytestmark = [pytest.mark.requires("overlayfs", "userns"), pytest.mark.any_user]

QUICK = ("experiment=probe", "-q")


@pytest.fixture
def warm(session_home: Path, probe_project: Path) -> Iterator[Launch]:
    """`launch` with helpers of its own: a variable that is read at start makes them nobody else's."""
    word = f"test-{os.urandom(4).hex()}"
    launch = Launch(session_home, probe_project, {"LAUNCH_WARM": "1", "LC_IDENTIFICATION": word})
    yield launch
    eventually(lambda: not _killed(launch))


def _killed(launch: Launch) -> list[int]:
    """Those that were left, and what is about to become one."""
    programs = (HELPER_TITLE.encode(), b"server_main.py")
    left = [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if _mark(launch) in _content(process / "environ") and any(each in _content(process / "cmdline") for each in programs)
    ]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def _mark(launch: Launch) -> bytes:
    return f"LC_IDENTIFICATION={launch.environ['LC_IDENTIFICATION']}".encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended, or is another's


def _helpers(launch: Launch) -> list[WarmHelper]:
    return [helper for helper in find_helpers() if _mark(launch) in _content(Path(f"/proc/{helper.pid}/environ"))]


def _address(helper: WarmHelper) -> str | None:
    """Where *helper* listens; None as long as it imports."""
    sockets = set()
    for fd in Path(f"/proc/{helper.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it imports: its files come and go
            sockets.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))
    for line in Path("/proc/net/unix").read_text().splitlines():
        if "@launch/" in line and line.split()[6] in sockets and line.split()[3] == "00010000":
            return "\0" + line.split()[-1][1:]
    return None


def _started(warm: Launch) -> WarmHelper:
    """The helper that a first launch has left."""
    warm(*QUICK)
    helper = eventually(lambda: _helpers(warm))[0]
    eventually(lambda: _address(helper))
    return helper


def _commands(helper: WarmHelper) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{helper.pid}/task/{helper.pid}/children").read_text().split()]


def _sleeping(warm: Launch, prefix: tuple[str, ...] = (), **popen: Any) -> tuple[subprocess.Popen[bytes], str]:
    """A command that waits for its run, and the run's id."""
    name = f"warm-{os.urandom(4).hex()}"  # others' runs may be in the same state directory
    argv = [*prefix, *warm.argv(*QUICK, "params.how=sleep", "--name", name)]
    process = subprocess.Popen(argv, cwd=warm.project, env=warm.env(), stderr=subprocess.DEVNULL, **popen)
    own = {"name": name, "status": "RUNNING"}
    record = eventually(lambda: next((run for run in _looking(warm).runs() if own.items() <= run.items()), None))
    return process, str(record["run_id"])


def _looking(warm: Launch) -> Launch:
    """The cold way: a fork of its own would count."""
    return Launch(warm.home, warm.project)


def _is_done_warm(warm: Launch, helper: WarmHelper, *, prefix: tuple[str, ...] = (), **popen: Any) -> bool:
    """Whether a command that waits is a fork of *helper*'s."""
    process, run_id = _sleeping(warm, prefix, **popen)
    is_warm = bool(_commands(helper))
    assert not is_warm or [helper.pid] == [each.pid for each in _helpers(warm)]  # its forks have names of their own
    _looking(warm)("kill", run_id)
    process.wait(60)
    return is_warm


def test_a_launch_leaves_a_helper_that_does_the_next_command(warm: Launch) -> None:
    helper = _started(warm)
    assert _is_done_warm(warm, helper)
    listed = json.loads(warm("ps", "--helpers", "--json").stdout)
    assert [helper.pid] == [each["pid"] for each in listed if each["pid"] == helper.pid]
    assert helper.memory_bytes < 60 * 2**20


def test_both_ways_say_and_exit_the_same(warm: Launch) -> None:
    _started(warm)
    cold = Launch(warm.home, warm.project)
    for words in (
        ("experimnt=probe",),
        ("nonsense",),
        ("run", "--help"),
        ("plan", "experiment=probe", "params.how=7"),
        ("runs", "show", "nobody"),
        ("list",),
    ):
        answers = [launch(*words, check=None) for launch in (warm, cold)]
        assert answers[0].returncode == answers[1].returncode
        assert answers[0].stdout == answers[1].stdout
        assert answers[0].stderr == answers[1].stderr
    assert 7 == warm("experiment=probe", "params.how=7", check=None).returncode


def test_the_program_has_the_callers_environment_and_directory(warm: Launch, tmp_path: Path) -> None:
    helper = _started(warm)
    secret = "s3cret-of-one-command"
    asking = Launch(warm.home, warm.project, {**warm.environ, "PROBE_WORD": secret})
    said = asking(*QUICK, "params.how=env", "+env.PROBE_WORD=${oc.env:PROBE_WORD}").stdout
    assert secret in said
    assert secret.encode() not in _content(Path(f"/proc/{helper.pid}/environ"))
    assert secret.encode() not in _memory(helper.pid)
    (tmp_path / "empty").mkdir()
    refused = subprocess.run(
        warm.argv(*QUICK), cwd=tmp_path / "empty", env=warm.env(), capture_output=True, text=True, check=False
    )
    assert 2 == refused.returncode
    assert "experiment" in refused.stderr


def _memory(pid: int) -> bytes:
    """All that the process could write to."""
    content = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            addresses, rights, *_rest = line.split()
            if rights.startswith("rw"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                memory.seek(start)
                content.append(memory.read(end - start))
    return b"".join(content)


@pytest.mark.parametrize(
    "prefix",
    [
        ("nice", "-n", "3"),
        ("env", "--ignore-signal=USR1"),
        ("setsid", "-w"),
        ("env", "PYTHONPATH=/nowhere"),
        ("env", "SLURM_JOB_ID=1"),
    ],
)
def test_who_differs_is_served_the_cold_way(warm: Launch, prefix: tuple[str, ...]) -> None:
    if shutil.which(prefix[0]) is None:
        pytest.skip(f"`{prefix[0]}` is not installed")
    helper = _started(warm)
    is_same = prefix[0] == "setsid"  # a session is no difference: a fork has its own group
    assert is_same == _is_done_warm(warm, helper, prefix=prefix)


def test_limits_and_umask_are_compared_too(warm: Launch) -> None:
    helper = _started(warm)
    few_files = (512, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert not _is_done_warm(warm, helper, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few_files))
    assert not _is_done_warm(warm, helper, umask=0o27)


@pytest.mark.parametrize("signum", [signal.SIGSTOP, signal.SIGKILL])
def test_a_helper_that_hangs_or_was_killed_costs_time_only(warm: Launch, signum: signal.Signals) -> None:
    helper = _started(warm)
    os.kill(helper.pid, signum)
    assert "hello from" in warm(*QUICK).stdout


def test_a_command_ends_although_client_and_helper_were_killed(warm: Launch) -> None:
    helper = _started(warm)
    client, run_id = _sleeping(warm)
    (command,) = map(os.pidfd_open, _commands(helper))
    for pid in (helper.pid, client.pid):  # the helper first: it would take the command along
        os.kill(pid, signal.SIGKILL)
    _looking(warm)("kill", run_id)
    assert select.select([command], [], [], 60)[0]
    os.close(command)
    client.wait()


def test_a_silent_client_blocks_nobody(warm: Launch) -> None:
    helper = _started(warm)
    address = _address(helper)
    assert address is not None
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for each in silent:
        each.connect(address)
    eventually(lambda: 3 == len(_commands(helper)) and [helper.pid] == [each.pid for each in _helpers(warm)])
    assert _is_done_warm(warm, helper)
    for each in silent:
        each.close()


def test_changed_code_ends_the_helper(warm: Launch, tmp_path: Path) -> None:
    root = tmp_path / "installed"
    for package in ("launcher", "runtime", "conf"):
        shutil.copytree(Path(__file__).parents[2] / package, root / package)
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from launcher.warm.client import main; main()"
    argv = [sys.executable, "-c", code, *QUICK]
    subprocess.run(argv, cwd=warm.project, env=warm.env(), check=True, stdout=subprocess.DEVNULL)
    helper = eventually(lambda: _helpers(warm))[0]
    eventually(lambda: _address(helper))
    with (root / "launcher/cli/watch.py").open("a") as file:
        file.write("# changed\n")
    subprocess.run(argv, cwd=warm.project, env=warm.env(), check=True, stdout=subprocess.DEVNULL)
    eventually(lambda: helper.pid not in [each.pid for each in find_helpers()])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_to_the_client_mean_what_they_mean_to_a_command(warm: Launch, signum: signal.Signals) -> None:
    helper = _started(warm)
    process = _ready(warm)
    forked = eventually(lambda: _commands(helper))
    process.send_signal(signum)
    process.wait(60)
    eventually(lambda: not set(forked) & set(_commands(helper)))
    record = warm.record()
    if signum == signal.SIGINT:
        assert (130, "interrupted") == (process.returncode, record["reason"])
    else:
        assert "RUNNING" == record["status"]
        warm("kill", record["run_id"])


def _ready(warm: Launch, **popen: Any) -> subprocess.Popen[str]:
    """A command whose program has said that it is ready."""
    process = warm.start("experiment=probe", "params.how=graceful", **popen)
    assert process.stdout is not None
    while "ready" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    return process


def test_a_terminal_works_as_ever(warm: Launch) -> None:
    helper = _started(warm)
    with TerminalSession(warm, "experiment=probe", "params.how=graceful") as session:
        session.wait_for("ready")
        assert _commands(helper)
        session.type("\x03")
        session.wait_for("was interrupted")
        assert 130 == session.end()


def test_a_stopped_client_stops_its_command(warm: Launch) -> None:
    helper = _started(warm)
    process = _ready(warm, process_group=0)
    (forked,) = eventually(lambda: _commands(helper))
    process.send_signal(signal.SIGTSTP)
    for pid in (forked, process.pid):
        eventually(lambda pid=pid: "T" == _state(pid))
    process.send_signal(signal.SIGCONT)
    for pid in (forked, process.pid):
        eventually(lambda pid=pid: "T" != _state(pid))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert 130 == process.returncode


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_descriptors_and_a_deleted_directory_are_the_clients(warm: Launch, tmp_path: Path) -> None:
    _started(warm)
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f"cd {gone} && rmdir {gone} && {warm.argv('list')[0]} list"
    done = subprocess.run(["sh", "-c", shell], env=warm.env(), capture_output=True, text=True, check=False)
    assert 2 == done.returncode
    assert "current directory does not exist" in done.stderr
    shell = f"{warm.argv('list')[0]} list --config-dir /proc/self/fd/9 9< {warm.project}/conf"
    listed = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=warm.env(), capture_output=True, text=True, check=False)
    assert "probe" in listed.stdout, listed.stderr


_AS_A_FORK_OF_THE_HELPER = """
import sys
from launcher.cli import main
from launcher.run.start.fork_server import ForkServer
from launcher.run.start.fork_server_main import fork_server
from launcher.warm import warm_helper

warm_helper._import_all()
ForkServer.begin = staticmethod(fork_server)
before = set(sys.modules)
assert main.run(sys.argv[1:]) == 0
print("imported:", *sorted(set(sys.modules) - before))
"""


def test_the_launch_of_an_edited_file_imports_nothing_that_the_helper_has_not(session_home: Path, tmp_path: Path) -> None:
    """Whoever edits a line and launches waits for each module that a fork has to import."""
    launch = Launch(session_home, write_project(tmp_path / "edited", "probe"))
    launch(*QUICK)
    program = launch.project / "experiments/probe/probe.py"
    program.write_text(f"{program.read_text()}# {tmp_path}\n")
    command = [sys.executable, "-c", _AS_A_FORK_OF_THE_HELPER, *QUICK]
    done = subprocess.run(command, cwd=launch.project, env=launch.env(), capture_output=True, text=True, timeout=300, check=True)
    assert ["imported:"] == [line.strip() for line in done.stdout.splitlines() if line.startswith("imported:")]
