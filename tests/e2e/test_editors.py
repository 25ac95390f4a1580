"""OpenSSH's client in a container to work in, as editors use it: `launch dev --ssh`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from launch_command import EXPERIMENT, Launch, write_project
from waiting import eventually

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns", "ssh", "sftp")]

HOST = "bench-7.launch"
SERVE = "cd /tmp; echo found > page; nohup python3 -u -m http.server -b 127.0.0.1 8765 >log 2>&1 & echo started"


class SshClient:
    """`ssh` and `sftp` with the file that launch has written."""

    def __init__(self, config: Path) -> None:
        self._options = ["-F", str(config), "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]

    def __call__(self, command: str, *options: str, typed: str = "", host: str = HOST) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command, *options, host=host), input=typed, capture_output=True, text=True, timeout=120, check=False
        )

    def argv(self, command: str, *options: str, host: str = HOST) -> list[str]:
        return ["ssh", *self._options, *options, host, command]

    def sftp(self, *lines: str) -> None:
        argv = ["sftp", *self._options, "-q", "-b", "-", HOST]
        done = subprocess.run(argv, input="\n".join(lines), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def forwarded(self, port: int) -> Iterator[int]:
        """A port of ours for *port* of the container's loopback, for as long as the client stays."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            ours = int(free.getsockname()[1])
        with subprocess.Popen(["ssh", *self._options, "-N", "-L", f"{ours}:localhost:{port}", HOST]) as client:
            eventually(lambda: _listens(ours))
            yield ours
            client.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def mine(session_home: Path, tmp_path: Path) -> Launch:
    """A project of its own: its files are written from both sides."""
    return Launch(session_home, write_project(tmp_path / "project", "mine", experiment=EXPERIMENT.replace("probe", "mine")))


def test_a_container_without_a_network_is_worked_in_over_ssh(mine: Launch, tmp_path: Path) -> None:
    container = mine("dev", "-d", "--ssh", "experiment=mine", "--name", "Bench 7")
    try:
        assert f"`ssh {HOST}` enters it" in container.stderr
        assert f"  Include {mine.home}/ssh/config\n" in container.stderr
        _work_in(SshClient(mine.home / "ssh/config"), mine, tmp_path)
        _have_a_kernel_in(mine, container.stdout.strip(), tmp_path)
        _end_it_below(SshClient(mine.home / "ssh/config"), mine, container.stdout.strip())
    finally:
        mine("stop", container.stdout.strip(), check=None)
    refused = SshClient(mine.home / "ssh/config")("true")
    assert (255, True) == (refused.returncode, "no container to work in is called `bench-7`" in refused.stderr)


def _work_in(ssh: SshClient, mine: Launch, tmp_path: Path) -> None:
    done = ssh("cat; echo $LAUNCH_EXPERIMENT; pwd >&2; exit 7", typed="typed\n")
    assert (7, "typed\nmine\n", "/workspace\n") == (done.returncode, done.stdout, done.stderr)
    assert ssh("tty; echo $TERM", "-tt").stdout.startswith("/dev/pts/0\n")
    assert ssh("bash -lc 'command -v python3'").stdout == "/opt/venv/bin/python3\n"
    assert "the container has no user `nobody-at-all`" in ssh("true", host=f"nobody-at-all@{HOST}").stderr

    (tmp_path / "here").write_bytes(bytes(range(256)) * 1000)
    ssh.sftp(f"put {tmp_path}/here there", f"get mine.py {tmp_path}/back")
    there = mine.project / "experiments/mine/there"
    assert (os.geteuid(), (tmp_path / "here").read_bytes()) == (there.stat().st_uid, there.read_bytes())
    assert (mine.project / "experiments/mine/mine.py").read_bytes() == (tmp_path / "back").read_bytes()

    assert ssh(SERVE).stdout == "started\n"  # its session ends, and it stays
    eventually(lambda: "Serving HTTP" in ssh("cat /tmp/log; touch ~/.vscode-server/kept").stdout)
    with ssh.forwarded(8765) as port:
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=60) as page:
                assert page.read() == b"found\n"
    with ssh.forwarded(1) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as nobody_listens:
        assert nobody_listens.recv(1) == b""
    assert (mine.home / "cache/shared/vscode-server/kept").exists()


def _end_it_below(ssh: SshClient, mine: Launch, container: str) -> None:
    with subprocess.Popen(ssh.argv("echo in; sleep 4329"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "in\n"
        mine("stop", container)
        assert "launch: the container is told to end, and this program with it\n" in client.communicate(timeout=60)[1]


def _have_a_kernel_in(mine: Launch, container: str, tmp_path: Path) -> None:
    """What runs in it is tests/kernel/test_jupyter_kernel.py's."""
    mine.environ["JUPYTER_DATA_DIR"] = str(tmp_path / "jupyter")
    offered = mine("dev", "-d", "--kernel")  # the one that this directory has
    assert (f"{container}\n", True) == (offered.stdout, "have the kernel `bench-7 (launch)`" in offered.stderr)
    spec = json.loads((tmp_path / "jupyter/kernels/launch-bench-7/kernel.json").read_bytes())
    assert ["kernel-proxy", "bench-7", "{connection_file}"] == spec["argv"][-3:]
    (tmp_path / "file").write_text("{}")
    assert "is no connection file of Jupyter's" in mine("kernel-proxy", "bench-7", str(tmp_path / "file"), check=2).stderr
    assert "no container to work in is called `bench-8`" in mine("kernel-proxy", "bench-8", "file", check=2).stderr
