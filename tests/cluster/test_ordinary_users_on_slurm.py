"""Somebody without root submits, looks and stops; beside root's runs on the same nodes."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_command import REPOSITORY, write_project
from meeting_project import write_meeting
from mpi_project import write_ranks

pytestmark = pytest.mark.requires("root", "slurm", "overlayfs", "ordinary-user", "newuidmap", "overlay-userns", "uv", "patience")

Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def theirs() -> Iterator[Path]:
    """A directory of launchtest's with an installation that they can start, a project and a LAUNCH_HOME. Not in pytest's own
    directory: that is nobody else's to pass."""
    root = Path(tempfile.mkdtemp(prefix="launch-user-", dir="/tmp"))
    root.chmod(0o755)
    user = pwd.getpwnam("launchtest")
    try:
        subprocess.run(["uv", "venv", "--quiet", "--python", "/usr/bin/python3", root / "env"], check=True)
        installed = ["uv", "pip", "install", "--quiet", "--python", root / "env/bin/python", REPOSITORY]
        subprocess.run(installed, check=True)
        write_project(root / "project", "probe")
        (root / "home").mkdir()
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", root / "project", root / "home"], check=True)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def typed(slurm, theirs) -> Typed:
    user = pwd.getpwnam("launchtest")

    def run(*arguments: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [
                "setpriv",
                f"--reuid={user.pw_uid}",
                f"--regid={user.pw_gid}",
                "--init-groups",
                theirs / "env/bin/launch",
                *arguments,
            ],
            cwd=theirs / "project",
            env={"PATH": os.environ["PATH"], "HOME": user.pw_dir, "LAUNCH_HOME": str(theirs / "home"), **slurm.environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert check == done.returncode, done.stderr
        return done

    return run


def until_it_says(logs: Callable[[], str], words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in logs():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


def test_an_ordinary_user_submits_looks_and_stops_beside_root(typed, launch):
    run_id = typed("experiment=probe", "cluster=slurm", "-d", "-q", "params.how=graceful").stdout.strip()
    others = launch("experiment=probe", "cluster=slurm", "-d", "-q", "params.how=graceful").stdout.strip()
    until_it_says(lambda: typed("logs", run_id).stdout, "ready")
    until_it_says(lambda: launch("logs", others).stdout, "ready")
    assert (True, False) == (run_id in typed("ps").stdout, others in typed("ps").stdout)
    typed("stop", run_id)
    assert "saving" in typed("logs", run_id).stdout
    assert others in launch("ps").stdout
    launch("stop", others)


def add_to_project(theirs: Path, written: Path) -> None:
    for name in ("conf", "experiments"):
        shutil.copytree(written / name, theirs / "project" / name, dirs_exist_ok=True)


def test_an_ordinary_users_ranks_meet_on_two_nodes(typed, theirs):
    add_to_project(theirs, write_meeting(theirs / "meeting"))
    typed("experiment=meet", "cluster=slurm")
    said = typed("logs", "--all-nodes", "@last").stdout.splitlines()
    assert {"node 0 | rank 0 of 2 on node 0: 11", "node 1 | rank 1 of 2 on node 1: 11"} <= {*said}


def test_an_ordinary_users_ranks_go_round_in_mpi(typed, theirs):
    """Slurm's PMIx server takes no rank whose user id is not the job's, by what the rank says of itself."""
    add_to_project(theirs, write_ranks(theirs / "ranks"))
    for library in (("cluster.mpi=pmix",), ("cluster.mpi=pmi2", "params.library=libmpich.so.12")):
        typed("experiment=ring", "cluster=slurm", *library)
        said = sorted(typed("logs", "--all-nodes", "@last").stdout.splitlines())
        totals = ("1111", "11", "111", "1111")
        assert [f"node {rank // 2} | rank {rank} of 4: {total}" for rank, total in enumerate(totals)] == said


def test_an_ordinary_users_trials_run_in_their_own_workers(typed):
    said = typed("-m", "experiment=probe", "cluster=slurm", "params.lr=1,2,3", "cluster.jobs=2").stderr
    assert "3 of 3 trials finished" in said
