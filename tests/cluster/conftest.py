"""One Slurm and one LAUNCH_HOME a session; `launch` as a fixture whose runs go to the cluster when they are asked to."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from counting_run import write_counting_project
from launch_command import Launch, write_project
from slurm_bed import SlurmBed, slurm_bed


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmBed]:
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # munge wants a directory above its socket that others may pass
    root.chmod(0o755)
    try:
        with slurm_bed(root) as bed:
            yield bed
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("launch-home")
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("project"), "probe")


@pytest.fixture
def launch(slurm: SlurmBed, cluster_home: Path, cluster_project: Path) -> Iterator[Launch]:
    yield Launch(cluster_home, cluster_project, dict(slurm.environ))
    for job in slurm.jobs():
        slurm.ask("scancel", job)


@pytest.fixture(scope="session")
def counting_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_counting_project(tmp_path_factory.mktemp("counting"))


@pytest.fixture
def counting(launch: Launch, counting_project: Path) -> Launch:
    return Launch(launch.home, counting_project, launch.environ)


@pytest.fixture
def mended(slurm: SlurmBed) -> Iterator[list[str]]:
    """Nodes that a test loses are there again for the next one."""
    lost: list[str] = []
    yield lost
    for node in lost:
        slurm.start_daemon(node)
        with suppress(subprocess.CalledProcessError):  # it is back by itself already
            slurm.resume(node)
    # `idle*` is a node that the controller has not heard of yet: a job that is sent there waits for a minute.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and "*" in slurm.ask("sinfo", "--noheader", "--Node", "--format=%T"):
        time.sleep(0.1)
