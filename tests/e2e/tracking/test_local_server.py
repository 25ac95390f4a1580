"""The local MLflow server: started once, outlives who started it, ends by itself, belongs to one user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server_peer import Server, stop_server

from launcher.errors import LaunchError
from launcher.tracking.mlflow import local_server
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.rest import Mlflow
from runtime.file_lock import locked
from runtime.state_dir import StateDir

START = "import sys, pathlib; from runtime.state_dir import StateDir; from launcher.tracking.mlflow import local_server as m; {}"


def starter(state: StateDir, what: str, **environ: str) -> subprocess.Popen[str]:
    """A command that starts the server, in a session and process group of its own, as a shell starts it."""
    code = START.format(f"m.{what}(StateDir(pathlib.Path(sys.argv[1])).ensure())")
    root = str(Path(local_server.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, **environ}
    return subprocess.Popen([sys.executable, "-c", code, str(state.root)], env=env, text=True, start_new_session=True)


def serving_pid(state: StateDir) -> int:
    return int(json.loads((state.mlflow / "server.json").read_text())["pid"])


def servers_of(state: StateDir) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if b"launcher.tracking.mlflow.server_main" in words and os.fsencode(state.root) in words:
            found.append(int(entry.name))
    return found


def ended(state: StateDir, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while servers_of(state):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.any_user
def test_two_launches_start_one_server_that_outlives_them_and_ends_when_idle(tmp_path: Path) -> None:
    """A path longer than a unix address may be, too."""
    state = StateDir(tmp_path / ("long" * 30)).ensure()
    starters = [starter(state, "start_in_background", LAUNCH_MLFLOW_IDLE_S="2") for _ in range(2)]
    assert [0, 0] == [each.wait(timeout=60) for each in starters]
    for each in starters:
        # Ctrl-C and a closed terminal reach the whole process group of the command.
        with pytest.raises(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not local_server.is_up(state) and time.monotonic() < deadline:
        time.sleep(0.02)
    client = Mlflow(LocalAddress(state.root))
    assert 200 == client.send("GET", "/health", headers={}).status
    client.close()
    assert [serving_pid(state)] == servers_of(state)
    assert os.getsid(serving_pid(state)) == serving_pid(state)

    run = state.run("abcdef")
    run.root.mkdir()
    with locked(run.supervisor_lock):
        assert not ended(state, within_s=3), "the server left a running run alone"
    assert ended(state, within_s=10)
    assert not (state.mlflow / "server.sock").exists()


@pytest.mark.any_user
def test_a_killed_server_is_replaced_on_the_same_port_with_the_same_runs(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home").ensure()
    url = local_server.ui(state)
    experiment = Server(state).client.experiment("kept")
    os.kill(serving_pid(state), signal.SIGKILL)
    assert ended(state, within_s=5)
    # A dying process loses its command line before its socket.
    deadline = time.monotonic() + 5
    while local_server.is_up(state) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert url == local_server.ui(state)
    assert experiment == Server(state).client.experiment("kept")
    assert stop_server(state)
    assert not stop_server(state)


@pytest.mark.any_user
def test_a_server_whose_directory_was_removed_ends_and_leaves_the_next_one_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "home").ensure()
    assert 0 == starter(state, "ui", LAUNCH_MLFLOW_IDLE_S="8").wait(timeout=60)
    forgotten = serving_pid(state)
    shutil.rmtree(state.root)
    local_server.ui(state.ensure())
    deadline = time.monotonic() + 15
    while forgotten in servers_of(state):
        assert time.monotonic() < deadline, "it serves what nobody can find"
        time.sleep(0.05)
    assert local_server.is_up(state), "it took the socket of the next one away"
    assert stop_server(state)


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDir(tmp_path / "home").ensure()
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named mlflow' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(LaunchError) as failure:
        local_server.ensure_server(state)
    assert "No module named mlflow" in failure.value.message
    assert str(LocalAddress(state.root).log) in str(failure.value.hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_sees_nothing(server: Server) -> None:
    url = local_server.ui(server.state)
    code = f"import urllib.request as r; print(r.build_opener(r.ProxyHandler({{}})).open({url!r}).status)"
    argv = [sys.executable, "-c", code]
    allowed = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "200" == allowed.stdout.strip()
    nobody = pwd.getpwnam("nobody").pw_uid
    refused = subprocess.run(
        ["/usr/bin/python3", *argv[1:]], capture_output=True, text=True, check=False, user=nobody, group=nobody, extra_groups=[]
    )
    assert "403" in refused.stderr
