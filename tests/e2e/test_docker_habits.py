"""What people who come from `docker build` type: a Dockerfile on standard input, alone or with the wrong thing in its place."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from launch_command import Launch


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path / "home", tmp_path)


def fed(launch: Launch, content: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    argv = launch.argv(*words)
    return subprocess.run(argv, input=content, cwd=launch.project, env=launch.env(), capture_output=True, check=False)


def test_a_dockerfile_without_a_context_comes_from_standard_input(launch: Launch) -> None:
    done = fed(launch, b"FROM scratch\nCOPY <<EOF /x\ntext\nEOF\n", "build", "-q", "-t", "x", "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"sha256:")
    done = fed(launch, b"FROM scratch\nCOPY home /x\n", "build", "-q", "-t", "x", "-")
    assert (done.returncode, b"`home` is not in the context" in done.stderr) == (2, True)


def test_what_is_no_text_is_no_dockerfile(launch: Launch) -> None:
    done = fed(launch, b"\x1f\x8b\x08\0\xff", "build", "-q", "-f", "-", ".")
    assert (done.returncode, b"the Dockerfile `Dockerfile` is not UTF-8" in done.stderr) == (2, True)


def test_a_socket_cannot_be_copied_by_name(launch: Launch) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(launch.project / "s"))
        (launch.project / "Dockerfile").write_text("FROM scratch\nCOPY s /s\n")
        refused = launch("build", "-q", ".", check=2).stderr
    assert "`s` is a socket, which no image holds" in refused
    assert "Dockerfile:2" in refused
