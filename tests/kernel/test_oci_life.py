"""The life of an OCI container by the command line: created, started, entered, paused, deleted; and podman's use of it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from tests.kernel.oci_bundle import Runtime, configuration, python_configuration, write_bundle
from tests.kernel.userland import PYTHON, userland

pytestmark = pytest.mark.requires("root", "netns", "proc")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A container's id: cgroups are told apart on the whole machine."""
    return f"{request.node.name[:40]}-{os.getpid()}"


def test_a_created_container_waits_for_start_and_can_be_started_once(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sh", "-c", "touch /ran; sleep 60"))
    pid_file = tmp_path / "pid"
    runtime.run("create", "--bundle", str(bundle), "--pid-file", str(pid_file), name)
    state = runtime.state(name)
    assert ("created", int(pid_file.read_text()), str(bundle)) == (state["status"], state["pid"], state["bundle"])
    assert not (bundle / "rootfs/ran").exists()
    assert "already exists" in runtime.run("create", "--bundle", str(bundle), name, code=1)
    runtime.run("start", name)
    assert "is running, not created" in runtime.run("start", name, code=1)
    assert "is running, not stopped" in runtime.run("delete", name, code=1)
    runtime.run("kill", name, "KILL")
    eventually(lambda: runtime.state(name)["status"] == "stopped", lambda: runtime.state(name))
    runtime.run("delete", name)
    assert "does not exist" in runtime.run("state", name, code=1)
    assert (bundle / "rootfs/ran").exists()


def test_run_gives_the_programs_exit_code_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sh", "-c", "exit 7"))
    runtime.run("run", "--bundle", str(bundle), name, code=7)
    write_bundle(tmp_path, configuration("sh", "-c", "kill -9 $$"))
    # The first process of a PID namespace can't be killed from within.
    runtime.run("run", "--bundle", str(bundle), name, code=0)
    assert [] == os.listdir(tmp_path / "records")


def test_a_program_that_is_not_there_fails_at_create(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    said = runtime.run("create", "--bundle", str(write_bundle(tmp_path, configuration("/no/such"))), name, code=1)
    assert "executable file `/no/such` not found" in said
    assert [] == os.listdir(tmp_path / "records")


def test_exec_is_inside_and_has_its_own_identity(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sleep", "60", env=["PATH=/usr/bin", "A=b"]))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    code = "import json, os; print(json.dumps([os.getuid(), os.getcwd(), os.environ['A'], os.readlink('/proc/self/ns/pid')]))"
    pid = runtime.state(name)["pid"]
    try:
        said = json.loads(runtime.run("exec", "--user", "5:6", "--cwd", "/tmp", name, PYTHON, "-I", "-c", code))
        assert [5, "/tmp", "b", os.readlink(f"/proc/{pid}/ns/pid")] == said
        runtime.run("exec", name, "sh", "-c", "exit 9", code=9)
        assert "not found in $PATH" in runtime.run("exec", name, "no-such-program", code=1)
        runtime.run("exec", "--detach", "--pid-file", str(tmp_path / "pid"), name, "sleep", "60")
        assert os.readlink(f"/proc/{int((tmp_path / 'pid').read_text())}/ns/net") == os.readlink(f"/proc/{pid}/ns/net")
        assert 2 == len(json.loads(runtime.run("ps", "--format", "json", name)))
    finally:
        runtime.run("delete", "--force", name)


def test_a_process_of_exec_cannot_be_looked_into_by_the_container(tmp_path: Path, name: str) -> None:
    """CVE-2016-9962 and CVE-2024-21626: no descriptor of the machine arrives, and the working directory is the container's."""
    runtime = Runtime(tmp_path)
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, configuration("sleep", "60"))), name)
    try:
        with open("/etc/hostname") as leaked:
            os.set_inheritable(leaked.fileno(), True)
            said = runtime.run("exec", name, "ls", "/proc/self/fd", close_fds=False)
        assert ["0", "1", "2", "3"] == said.split()  # 3 is ls's own
        for number in range(3, 9):
            runtime.run("exec", "--cwd", f"/proc/self/fd/{number}", name, "true", code=1)
    finally:
        runtime.run("delete", "--force", name)


def test_the_runtimes_own_file_cannot_be_overwritten_through_proc(tmp_path: Path, name: str) -> None:
    """CVE-2019-5736: a script that is interpreted by what we are gets a file on a read-only mount."""
    runtime = Runtime(tmp_path)
    script = "#!/proc/self/exe\nimport os\nprint(bool(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY))\n"
    home = f"PYTHONHOME={sys.base_prefix}"
    bundle = write_bundle(tmp_path, configuration("/evil", env=["PATH=/usr/bin", home]))
    (bundle / "rootfs/evil").write_text(script)
    (bundle / "rootfs/evil").chmod(0o755)
    assert "True\n" == runtime.run("run", "--bundle", str(bundle), name)
    write_bundle(tmp_path, configuration("sleep", "60"))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    try:
        assert "True\n" == runtime.run("exec", "--env", home, name, "/evil")
    finally:
        runtime.run("delete", "--force", name)


def test_signals_reach_the_program(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    script = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done"
    bundle = write_bundle(tmp_path, configuration("sh", "-c", script))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    deadline = time.monotonic() + 10
    while not (bundle / "rootfs/ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    runtime.run("kill", name)
    eventually(lambda: runtime.state(name)["status"] == "stopped", lambda: runtime.state(name))
    assert "is not running" in runtime.run("kill", name, code=1)
    runtime.run("delete", name)


def test_a_paused_container_stands_still(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, configuration("sleep", "60"))), name)
    try:
        runtime.run("pause", name)
        assert "paused" == runtime.state(name)["status"]
        assert "is paused" in runtime.run("exec", name, "true", code=1)
        runtime.run("resume", name)
        assert "running" == runtime.state(name)["status"]
    finally:
        runtime.run("delete", "--force", name)


def test_limits_are_set_and_changed(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    document = configuration("sleep", "60")
    document["linux"]["resources"] = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}}
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, document)), name)
    cgroups = json.loads((tmp_path / "records" / name / "state.json").read_text())["cgroups"]
    pids = Path(cgroups.get("pids") or cgroups[""], "pids.max")
    try:
        assert "20" == pids.read_text().strip()
        runtime.run("update", "--pids-limit", "30", name)
        assert "30" == pids.read_text().strip()
    finally:
        runtime.run("delete", "--force", name)
    assert not pids.parent.exists()


def hook(path: Path, word: str, **fields: Any) -> dict[str, Any]:
    script = f"read state; echo {word} $state >> {path}"
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **fields}


def test_hooks_run_in_their_order_and_hear_of_the_state(tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    document = configuration("true")
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    document["hooks"] = {kind: [hook(log, f"{kind}-1"), hook(log, f"{kind}-2")] for kind in kinds}
    document["hooks"]["startContainer"] = [{"path": "/usr/bin/touch", "args": ["touch", "/inside"]}]
    document["annotations"] = {"a": "b"}
    bundle = write_bundle(tmp_path, document)
    Runtime(tmp_path).run("run", "--bundle", str(bundle), name)
    lines = [line.partition(" ")[::2] for line in log.read_text().splitlines()]
    assert [f"{kind}-{number}" for kind in kinds for number in (1, 2)] == [word for word, _state in lines]
    states = [json.loads(state) for _word, state in lines]
    assert ["created"] * 6 + ["running"] * 2 + ["stopped"] * 2 == [state["status"] for state in states]
    assert {(name, str(bundle), "b")} == {(state["id"], state["bundle"], state["annotations"]["a"]) for state in states}
    assert (bundle / "rootfs/inside").exists()


def test_a_hook_that_fails_or_takes_too_long_ends_the_container(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    failing = (("exited with 3", {"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}),)
    slow = (("ran longer than its 1 s", {"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}),)
    for said, failing_hook in (*failing, *slow):
        document = configuration("true")
        document["hooks"] = {"createRuntime": [failing_hook], "poststop": [hook(tmp_path / "log", "stopped")]}
        assert said in runtime.run("run", "--bundle", str(write_bundle(tmp_path, document)), name, code=1)
    assert [] == os.listdir(tmp_path / "records")
    assert 2 == len((tmp_path / "log").read_text().splitlines())


def test_a_killed_create_leaves_no_process(tmp_path: Path, name: str) -> None:
    """The container's process sees the end of the socket and goes; what is recorded can be deleted."""
    runtime = Runtime(tmp_path)
    document = configuration("sleep", "60")
    document["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"kill -{int(signal.SIGKILL)} $PPID"]}]}
    runtime.run("create", "--bundle", str(write_bundle(tmp_path, document)), name, code=-9)
    assert "creating" == runtime.state(name)["status"]
    cgroups = json.loads((tmp_path / "records" / name / "state.json").read_text())["cgroups"]
    runtime.run("delete", "--force", name)
    assert [] == [directory for directory in cgroups.values() if os.path.exists(directory)]


def test_descriptors_that_shall_stay_do_and_sockets_of_systemd_too(tmp_path: Path, name: str) -> None:
    code = "answer = [os.environ.get('LISTEN_FDS'), os.environ.get('LISTEN_PID')]; os.write(3, b'here')"
    bundle = write_bundle(tmp_path, python_configuration(code))
    argv = Runtime(tmp_path).argv("run", "--bundle", str(bundle), name)
    # The shell opens a descriptor 3 for the runtime.
    command = ["sh", "-c", f'exec 3> {tmp_path / "third"}; exec "$@"', "_", *argv]
    env = {**os.environ, "LISTEN_FDS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env).stdout
    assert (["1", "1"], "here") == (json.loads(said), (tmp_path / "third").read_text())


def test_the_terminal_goes_to_the_console_socket(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    document = configuration("sh", "-c", "tty; stty size; read word; echo got $word", terminal=True)
    document["process"]["consoleSize"] = {"height": 33, "width": 99}
    bundle = write_bundle(tmp_path, document)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        runtime.run("create", "--bundle", str(bundle), "--console-socket", str(tmp_path / "console"), name)
        connection, _address = listener.accept()
        _data, (master,), _flags, _from = socket.recv_fds(connection, 64, 1)
        connection.close()
    runtime.run("start", name)
    os.write(master, b"hello\n")
    said = b""
    try:
        while chunk := os.read(master, 1000):
            said += chunk
    except OSError:  # EIO: the other side has ended
        assert b"got hello" in said
    os.close(master)
    assert [b"/dev/pts/0", b"33 99"] == [line for line in said.split(b"\r\n") if line != b"hello"][:2]
    eventually(lambda: runtime.state(name)["status"] == "stopped", lambda: runtime.state(name))
    runtime.run("delete", name)


@pytest.mark.requires("podman")
def test_podman_runs_containers_with_it(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    program = tmp_path / "launch-oci"
    words = " ".join(map(shlex.quote, runtime.argv()[:-2]))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    bundle = write_bundle(tmp_path, configuration("true"))
    podman = ["podman", "--root", str(tmp_path / "storage"), "--runroot", str(tmp_path / "run"), "--cgroup-manager", "cgroupfs"]
    podman += ["--runtime", str(program)]
    mounts = [f"--volume={one.source}:{one.target}:ro" for one in userland()]
    run = [*podman, "run", "--rm", "--network=none", "--name", name, *mounts, "--rootfs", str(bundle / "rootfs")]
    script = "id -u; grep NSpid /proc/self/status; exit 5"
    done = subprocess.run([*run, "sh", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (5, "0") == (done.returncode, done.stdout.split()[0]), done.stderr
    missing = subprocess.run([*run, "/no/such"], capture_output=True, text=True, timeout=120, check=False)
    assert 127 == missing.returncode, missing.stderr


def test_events_tell_what_a_container_uses_until_it_ends(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sleep", "60"))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    try:
        event = json.loads(runtime.run("events", "--stats", name))
        assert ("stats", name) == (event["type"], event["id"])
        assert event["data"]["cpu"]["usage"]["total"] > 0
        followed = subprocess.Popen(runtime.argv("events", "--interval", "50ms", name), stdout=subprocess.PIPE, text=True)
        assert followed.stdout is not None
        assert "stats" == json.loads(followed.stdout.readline())["type"]
    finally:
        runtime.run("delete", "--force", name)
    assert 0 == followed.wait(timeout=10)
    assert "does not exist" in runtime.run("events", "--stats", name, code=1)
