"""What people who come from `docker build` type: a Dockerfile on standard input, alone or with the wrong thing in its place."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from launch_command import Launch

from runtime.store.store import Store

pytestmark = pytest.mark.any_user

SOURCES = "etc/apt/sources.list.d/debian.sources"


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


def test_a_dockerfile_in_lower_case_is_found(launch: Launch) -> None:
    (launch.project / "dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    launch("build", "-q", "-t", "x", ".")
    launch("build", "-q", "-t", "x", "-f", "Dockerfile", ".")
    assert "there is no Dockerfile `other`" in launch("build", "-q", "-f", "other", ".", check=2).stderr


def test_a_pipe_is_copied_as_one_and_waited_for_by_nobody(launch: Launch) -> None:
    (launch.project / "context").mkdir()
    os.mkfifo(launch.project / "context/pipe")
    (launch.project / "context/file").write_text("text")
    (launch.project / "Dockerfile").write_text("FROM scratch\nCOPY . /all/\n")
    launch("build", "-q", "-t", "x", "-f", "Dockerfile", "context", timeout_s=60)
    assert "fifo" in [entry.type for entry in store_of(launch).tree_of(store_of(launch).image("x").layers[-1])]
    (launch.project / "context/file").unlink()
    os.mkfifo(launch.project / "context/file")
    assert "identical" in launch("verify", "x", timeout_s=60).stdout


def store_of(launch: Launch) -> Store:
    return Store(launch.home / "store")


@pytest.mark.requires("overlayfs", "userns")
def test_apt_sees_an_archive_on_a_base_of_ours_wherever_that_comes_from(session_home: Path, tmp_path: Path) -> None:
    """Its own source list is empty. What a command does to it stays; what was only shown is in no layer."""
    launch = Launch(session_home, tmp_path)
    reads, edits = f"RUN grep -c URIs /{SOURCES} > /n", f"RUN sed -i 's/^Components: main/& contrib/' /{SOURCES}"
    for base, made in (("bootstrap:debian/trixie", "apt-base"), ("loaded-base", "apt-loaded")):
        (tmp_path / "Dockerfile").write_text(f"FROM {base}\n{reads}\n{edits}\n")
        launch("build", "-q", "-t", made, ".")
        store = Store(session_home / "store")
        read, edited = (store.layer_dir(layer) for layer in store.image(made).layers[-2:])
        assert ["n"] == [str(path.relative_to(read)) for path in read.rglob("*") if path.is_file()]
        assert "Components: main contrib\n" in (edited / SOURCES).read_text()
        (tmp_path / "Dockerfile").write_text("FROM bootstrap:debian/trixie\n")
        launch("build", "-q", "-t", "plain-base", ".")
        launch("save", "plain-base", "--format", "oci", "-o", "plain")
        launch("load", "plain", "--name", "loaded-base")
