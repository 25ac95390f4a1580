"""From create to the exit record, and through the death of whoever created it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import eventually

from runtime.container import lifecycle, spawn_helper
from runtime.container.adopt import adopt
from runtime.container.lifecycle import Container
from runtime.container.logs import LogFiles
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.errors import ContainerError
from runtime.file_lock import is_locked, open_locked
from runtime.kernel import libc, mounts
from runtime.rootfs.mount_spec import BindMount
from tests.kernel.forked import forked
from tests.kernel.userland import PYTHON, make_spec, python_spec, run

_NEWNS = 0x00020000

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")


def finish(container: Container) -> ProcessExit:
    ended = lifecycle.wait(container, timeout_s=30)
    container.close()
    return ended


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("exit 0", ProcessExit(0, None), id="success"),
        pytest.param("exit 3", ProcessExit(3, None), id="failure"),
        pytest.param("kill -9 $$", ProcessExit(None, 9), id="killed by itself"),
        pytest.param("kill -TERM $$", ProcessExit(None, 15), id="terminated"),
        pytest.param("sleep 60 & exit 4", ProcessExit(4, None), id="leaving a child behind"),
    ],
)
def test_the_record_says_how_the_program_ended(tmp_path: Path, script: str, expected: ProcessExit) -> None:
    record = tmp_path / "exit.json"
    container = lifecycle.create(make_spec(tmp_path, "sh", "-c", script), exit_record=record)
    assert lifecycle.read_exit(record) is None
    lifecycle.start(container)
    assert expected == finish(container)
    assert expected == lifecycle.read_exit(record)
    assert {"code", "signal", "at", "peak_process_bytes", "cpu_s"} == set(json.loads(record.read_text()))


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        pytest.param(("nope",), 127, "cannot run `nope`: not found in PATH", id="not in PATH"),
        pytest.param(("/nope",), 127, "cannot run `/nope`: no such file", id="no such path"),
        pytest.param(("/etc",), 126, "cannot run `/etc`: permission denied", id="a directory"),
        pytest.param(("/script",), 127, "interpreter is missing", id="a script without its interpreter"),
        pytest.param(("/text",), 126, "cannot run `/text`: exec format error", id="no program"),
    ],
)
def test_a_command_that_cannot_run_says_why(tmp_path: Path, argv: tuple[str, ...], code: int, words: str) -> None:
    spec = make_spec(tmp_path, *argv)
    for name, content in (("script", "#!/no/such/interpreter\n"), ("text", "hello\n")):
        (spec.layers[0] / name).write_text(content)
        (spec.layers[0] / name).chmod(0o755)
    ended, output = run(spec)
    assert code == ended.code
    assert words in output


def test_a_working_directory_that_is_a_file_says_so(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "true", cwd="/file")
    (spec.layers[0] / "file").touch()
    with pytest.raises(ContainerError, match="no mount point `/file`"):
        run(spec)


def test_a_signal_reaches_the_program_and_not_its_children(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
child = os.fork()
if child == 0:
    time.sleep(60)
def stop(number, frame):
    alive = os.waitpid(child, os.WNOHANG) == (0, 0)
    os.write(1, b"child alive\\n" if alive else b"child gone\\n")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""
    container = lifecycle.create(python_spec(tmp_path, code), exit_record=None)
    lifecycle.start(container)
    assert b"ready\n" == os.read(container.stdout_fd, 100)
    lifecycle.signal(container, signal.SIGTERM)
    assert b"child alive\n" == os.read(container.stdout_fd, 100)
    assert ProcessExit(7, None) == finish(container)


def test_a_signal_to_init_itself_is_passed_on(tmp_path: Path) -> None:
    container = lifecycle.create(make_spec(tmp_path, "sleep", "60"), exit_record=None)
    lifecycle.start(container)
    eventually(
        lambda: b"sleep" in Path(f"/proc/{container.pid}/task/{container.pid}/children").read_bytes() or _children(container.pid)
    )
    os.kill(container.pid, signal.SIGTERM)
    assert ProcessExit(None, 15) == finish(container)


def _children(pid: int) -> bool:
    """Whether the program of init *pid* has been exec'ed."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children)


def test_a_signal_before_the_start_is_the_end(tmp_path: Path) -> None:
    container = lifecycle.create(make_spec(tmp_path, "true"), exit_record=None)
    lifecycle.signal(container, signal.SIGTERM)
    assert ProcessExit(None, 15) == finish(container)


def test_kill_ends_the_whole_tree_and_counts_as_killed(tmp_path: Path) -> None:
    container = lifecycle.create(
        make_spec(tmp_path, "sh", "-c", "setsid sleep 60 & trap '' TERM; echo up; sleep 60"), exit_record=None
    )
    lifecycle.start(container)
    assert b"up\n" == os.read(container.stdout_fd, 100)
    lifecycle.kill(container)
    lifecycle.signal(container, signal.SIGTERM)  # too late, and no error
    assert ProcessExit(None, 9) == finish(container)


def test_orphans_of_the_program_are_reaped(tmp_path: Path) -> None:
    code = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.wait()
deadline = time.monotonic() + 10
def is_zombie(pid):
    try:
        return " Z " in open(f"/proc/{pid}/stat").read()
    except OSError:  # gone meanwhile
        return False
def zombies():
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and is_zombie(pid)]
while zombies() and time.monotonic() < deadline:
    time.sleep(0.01)
print(zombies())
"""
    ended, output = run(python_spec(tmp_path, code))
    assert "[]\n" == output, ended


def test_wait_gives_up_in_time(tmp_path: Path) -> None:
    container = lifecycle.create(make_spec(tmp_path, "sleep", "60"), exit_record=None)
    lifecycle.start(container)
    with pytest.raises(TimeoutError):
        lifecycle.wait(container, timeout_s=0.05)
    lifecycle.kill(container)
    finish(container)


def test_a_build_step_that_takes_too_long_is_killed_and_its_words_are_kept(tmp_path: Path) -> None:
    chunks: list[bytes] = []
    ended, output = run(make_spec(tmp_path, "sh", "-c", "echo begun; echo hm >&2; sleep 60"), timeout_s=1.5, output=chunks.append)
    assert ProcessExit(None, 9) == ended
    assert {"begun", "hm"} == set(output.split())
    assert output.encode() == b"".join(chunks)


def test_the_tail_of_a_long_output_is_its_end(tmp_path: Path) -> None:
    _ended, output = run(make_spec(tmp_path, "sh", "-c", "seq 1 100000; echo end"))
    assert 64 * 1024 == len(output)
    assert output.endswith("100000\nend\n")


def test_a_container_can_be_made_from_a_process_with_threads(tmp_path: Path) -> None:
    results: list[ProcessExit] = []

    def build(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        results.append(run(make_spec(directory, "true"))[0])

    threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ProcessExit(0, None)] * 4 == results


def test_ranks_know_each_other(tmp_path: Path) -> None:
    code = """
import os
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
os.write(1, (" ".join(os.environ[n] for n in names) + f" {int(os.environ['MASTER_PORT']) > 1024}\\n").encode())
"""
    _ended, output = run(python_spec(tmp_path, code, processes=3))
    assert [f"{rank} {rank} 3 3 127.0.0.1 True" for rank in range(3)] == sorted(output.splitlines())


def test_a_failing_rank_ends_the_others_and_is_the_outcome(tmp_path: Path) -> None:
    started = time.monotonic()
    spec = make_spec(tmp_path, "sh", "-c", "[ $RANK = 1 ] && exit 5; trap '' TERM; sleep 60", processes=2, rank_grace_s=0.3)
    # A shell that ignores SIGTERM waits for its sleep: only SIGKILL after the grace ends it.
    ended, _output = run(spec)
    assert ProcessExit(5, None) == ended
    assert time.monotonic() - started < 30


def test_stdin_is_passed_when_given_and_empty_otherwise(tmp_path: Path) -> None:
    _ended, output = run(make_spec(tmp_path, "wc", "-c"))
    assert "0\n" == output
    reader, writer = os.pipe()
    os.write(writer, b"12345")
    os.close(writer)
    container = lifecycle.create(make_spec(tmp_path, "wc", "-c"), exit_record=None, stdin=reader)
    os.close(reader)
    lifecycle.start(container)
    finish_output = os.read(container.stdout_fd, 100)
    assert b"5\n" == finish_output
    finish(container)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """The leak check of the suite looks; here: the descriptors."""
    before = _descriptors()
    with pytest.raises(ContainerError):
        lifecycle.create(make_spec(tmp_path, "true", layers=()), exit_record=None)
    assert before == _descriptors()


def test_descriptors_come_back_with_close(tmp_path: Path) -> None:
    before = _descriptors()
    container = lifecycle.create(make_spec(tmp_path, "true", loopback_listener=True), exit_record=tmp_path / "exit")
    lifecycle.start(container)
    finish(container)
    container.close()
    assert before == _descriptors()


def _descriptors() -> dict[str, str]:
    """This process's, but for the connection to a spawn helper: a test runner that has just grown enough for one keeps that."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the directory itself
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    if spawn_helper._current is not None:
        found.pop(str(spawn_helper._current.connection.fileno()), None)
    return found


class Supervisor:
    """A process that creates and starts a container, and is then killed with -9."""

    def __init__(self, directory: Path, spec: ContainerSpec, *, start: bool = True, lease: Path | None = None) -> None:
        self.record = directory / "exit.json"
        self.socket = directory / ("a-directory-with-a-long-name-" * 5) / "init.sock"
        self.socket.parent.mkdir()
        self.logs = (directory / "stdout.log", directory / "stderr.log")
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                held = () if lease is None else (open_locked(lease),)
                paths = (*self.logs, directory / "output.index")
                logs = LogFiles(*(os.open(path, os.O_RDWR | os.O_CREAT) for path in paths))
                container = lifecycle.create(spec, exit_record=self.record, init_socket=self.socket, held_fds=held, logs=logs)
                if start:
                    lifecycle.start(container)
                os.write(writer, str(container.pid).encode())
                time.sleep(600)
            finally:
                os._exit(1)
        os.close(writer)
        self.init = int(os.read(reader, 100))
        os.close(reader)

    def die(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_nothing_stays_when_the_creator_dies_before_the_start(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, make_spec(tmp_path, "true"), start=False)
    supervisor.die()
    eventually(lambda: not _alive(supervisor.init))
    assert lifecycle.read_exit(supervisor.record) is None
    with pytest.raises(ContainerError, match="has ended"):
        adopt(supervisor.socket, supervisor.record)


def _alive(pid: int) -> bool:
    """Not a zombie either: this process is its subreaper."""
    try:
        os.waitpid(pid, os.WNOHANG)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ChildProcessError, FileNotFoundError):
        return Path(f"/proc/{pid}").exists()


def test_the_program_goes_on_without_its_supervisor_and_loses_no_line(tmp_path: Path) -> None:
    """Much more than a pipe holds, with nobody to read it."""
    go = tmp_path / "go"
    go.mkdir()
    from runtime.rootfs.mount_spec import BindMount

    script = "while [ ! -e /go/now ]; do sleep 0.01; done; seq 1 400000; echo done >&2; exit 6"
    supervisor = Supervisor(tmp_path, make_spec(tmp_path, "sh", "-c", script, binds=(BindMount(go, "/go"),)))
    supervisor.die()
    (go / "now").touch()
    eventually(lambda: lifecycle.read_exit(supervisor.record) is not None)
    assert ProcessExit(6, None) == lifecycle.read_exit(supervisor.record)
    assert "".join(f"{number}\n" for number in range(1, 400001)) == supervisor.logs[0].read_text()
    assert "done\n" == supervisor.logs[1].read_text()
    eventually(lambda: not _alive(supervisor.init))


def test_a_supervisor_killed_as_the_program_ends_costs_no_line(tmp_path: Path) -> None:
    supervisor = _supervisor_of_ended(tmp_path, "echo last; echo word >&2")
    assert lifecycle.read_exit(supervisor.record) is None
    supervisor.die()
    assert ProcessExit(6, None) == _recorded(supervisor)
    assert ["last\n", "word\n"] == [log.read_text() for log in supervisor.logs]


def test_who_adopts_a_container_as_its_program_ends_reads_the_rest(tmp_path: Path) -> None:
    """While the connection of a killed supervisor is still held, by a child of its own."""
    supervisor = _supervisor_of_ended(tmp_path, "echo last")
    container = adopt(supervisor.socket, supervisor.record)
    assert b"last\n" == os.read(container.stdout_fd, 100)
    assert ProcessExit(6, None) == finish(container)
    supervisor.die()


def _supervisor_of_ended(directory: Path, script: str) -> Supervisor:
    """One that reads no output, and whose program has ended with 6 after *script*."""
    go = directory / "go"
    go.mkdir()
    ending = "until [ -e /go/now ]; do sleep 0.01; done; exit 6"
    spec = make_spec(directory, "sh", "-c", f"{script}\n{ending}", binds=(BindMount(go, "/go"),))
    supervisor = Supervisor(directory, spec)
    program = eventually(lambda: _children_of(supervisor.init))
    (go / "now").touch()
    eventually(lambda: program[0] not in _children_of(supervisor.init))
    return supervisor


def _children_of(init: int) -> list[str]:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        return Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return []


def _recorded(supervisor: Supervisor) -> ProcessExit | None:
    return eventually(lambda: lifecycle.read_exit(supervisor.record))


def test_who_adopts_a_container_gets_its_output_listener_and_end(tmp_path: Path) -> None:
    code = """
import os, signal, socket, sys, time
def stop(number, frame):
    os.write(1, b"stopping\\n")
    sys.exit(9)
signal.signal(signal.SIGTERM, stop)
time.sleep(60)
"""
    supervisor = Supervisor(tmp_path, python_spec(tmp_path, code, loopback_listener=True))
    eventually(lambda: _command(supervisor.init) == PYTHON)
    supervisor.die()
    container = adopt(supervisor.socket, supervisor.record)
    assert supervisor.init == container.pid
    assert container.listener_fd is not None
    assert container.listener_port
    eventually(lambda: _is_caught(signal.SIGTERM, supervisor.init))
    lifecycle.signal(container, signal.SIGTERM)
    assert b"stopping\n" == os.read(container.stdout_fd, 100)
    assert ProcessExit(9, None) == lifecycle.wait(container, timeout_s=30)
    assert "" == supervisor.logs[0].read_text()
    container.close()
    eventually(lambda: not _alive(supervisor.init))


def _is_caught(signum: signal.Signals, init: int) -> bool:
    """Whether the program of *init* has a handler for it."""
    status = Path(f"/proc/{_children_of(init)[0]}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signum - 1) & 1)


def _command(init: int) -> str:
    for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
        return Path(f"/proc/{child}/cmdline").read_text().split("\0")[0]
    return ""


def test_a_lease_is_held_until_the_container_ends(tmp_path: Path) -> None:
    lease = tmp_path / "gpu.lock"
    supervisor = Supervisor(tmp_path, make_spec(tmp_path, "sleep", "60"), lease=lease)
    supervisor.die()
    assert is_locked(lease)
    container = adopt(supervisor.socket, supervisor.record)
    lifecycle.kill(container)
    lifecycle.wait(container, timeout_s=30)
    assert not is_locked(lease)
    container.close()
    eventually(lambda: not _alive(supervisor.init))


@pytest.mark.requires("cgroup-memory", "cgroup-pids")
def test_limits_hold_for_the_program(tmp_path: Path) -> None:
    from runtime.cgroup.limits import Limits

    code = "import os; print(open('/proc/self/cgroup').read()); bytearray(200 << 20); print('survived')"
    ended, output = run(python_spec(tmp_path, code, limits=Limits(memory_bytes=64 << 20)))
    assert ProcessExit(None, 9) == ended
    assert "survived" not in output
    # The cgroup namespace starts at the container's own: nothing of the machine's names is seen.
    assert "launch" not in output


def test_a_build_container_ends_with_its_maker_and_the_next_build_removes_its_cgroup(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "next").mkdir()
    spec = make_spec(tmp_path / "killed", PYTHON, "-c", "print('up', flush=True); import time; time.sleep(60)")
    heard, say = os.pipe2(os.O_CLOEXEC)
    maker = os.fork()
    if maker == 0:
        try:
            run_to_completion(spec, output=lambda chunk: (os.write(say, chunk), None)[1])
        finally:
            os._exit(1)
    os.close(say)
    assert os.read(heard, 3) == b"up\n"
    os.kill(maker, signal.SIGKILL)
    os.waitpid(maker, 0)
    assert os.read(heard, 1) == b""
    left = _cgroups(f"launch-{spec.container_id}.")
    eventually(lambda: not any((directory / "cgroup.procs").read_text() for directory in left))
    run_to_completion(make_spec(tmp_path / "next", PYTHON, "-c", ""))
    assert _cgroups(f"launch-{spec.container_id}.") == []
    lifecycle.remove_overlay(spec.overlay_dir)


def _cgroups(beginning: str) -> list[Path]:
    return [Path(parent, name) for parent, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith(beginning)]


def test_a_program_that_fills_the_disk_cannot_hide_how_it_ended(tmp_path: Path) -> None:
    code = "try:\n with open('/full/x', 'wb') as f:\n  while f.write(b'x' * 4096): f.flush()\nexcept OSError: raise SystemExit(4)"

    def on_a_small_disk() -> None:
        mounts.make_private()
        libc.mount("tmpfs", tmp_path / "disk", "tmpfs", options="size=64k,mode=755")
        (tmp_path / "disk" / "kept").mkdir()
        full = BindMount(tmp_path / "disk" / "kept", "/full", readonly=False)
        spec = python_spec(tmp_path, code, binds=(full,))
        container = lifecycle.create(spec, exit_record=tmp_path / "disk" / "exit.json")
        lifecycle.start(container)
        assert finish(container) == ProcessExit(4, None)
        lifecycle.remove_overlay(spec.overlay_dir)

    (tmp_path / "disk").mkdir()
    forked(on_a_small_disk, unshare=_NEWNS)
