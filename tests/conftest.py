"""What every test gets: `requires`, a private LAUNCH_HOME, a random epoch, and for kernel and e2e tests the leak check.

    @pytest.mark.requires("overlayfs", "cgroup-memory")    skipped, with the reason, where `runtime.host` can't
    LAUNCH_TESTS_REQUIRE=overlayfs,bridge pytest …          …but failed there: CI must not skip what it is meant to run

Words are the names of `runtime.host.report.CHECKS` (`_` may stand for `-`), programs in PROGRAMS, and those in OTHERS; an unknown
word fails.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from traces import MARK, leave_the_mounts_of_others, left_behind, traces

from launcher.run.start.create_run import new_run_dir
from runtime.host import report as host
from runtime.state_dir import RunDir, StateDir
from runtime.store.store import Store

if TYPE_CHECKING:
    from gpu_box import GpuBox

PROGRAMS = (
    *("buildah", "crun", "docker", "docker-registry", "dockerd", "git", "gzip", "htpasswd", "nft", "podman", "runc", "setpriv"),
    *("cc", "sftp", "skopeo", "ssh", "tar", "umoci", "unshare", "uv", "zstd"),
)
"""Independent judges and tools: present or not."""

ROOTS_ALONE = {
    "root",
    "idmapped-mounts",
    "bridge",
    "cgroup-memory",
    "cgroup-cpu",
    "cgroup-pids",
    "ordinary-user",
    "device-cgroup",
    "slurm",
    "slurmdbd",
}
"""What an ordinary user doesn't have in CI."""

CHECKED_FOR_LEAKS = ("tests/kernel/", "tests/e2e/")

_SETTLED_WITHIN_S = 5.0


def _ordinary_user() -> str | None:
    """Whether root can run something as `launchtest`, who is nobody in particular."""
    if os.geteuid() != 0:
        return "only root can become another user"
    try:
        pwd.getpwnam("launchtest")
    except KeyError:
        return "there is no user `launchtest` (`useradd -m launchtest`)"
    return None if shutil.which("setpriv") else "`setpriv` is not installed"


def _slurm() -> str | None:
    """Whether a cluster can be brought up here (tests/cluster/slurm_bed.py)."""
    missing = [program for program in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(program) is None]
    return f"`{missing[0]}` is not installed (Debian: slurm-wlm, munge)" if missing else None


def _slurmdbd() -> str | None:
    """Whether that cluster can keep accounts (tests/cluster/slurm_accounts.py)."""
    missing = [program for program in ("slurmdbd", "mariadbd", "mariadb-install-db") if shutil.which(program) is None]
    return f"`{missing[0]}` is not installed (Debian: slurmdbd, mariadb-server)" if missing else _slurm()


def _device_cgroup() -> str | None:
    """Whether Slurm can forbid devices here without systemd."""
    own = Path("/sys/fs/cgroup/devices")
    return None if os.access(own / "cgroup.procs", os.W_OK) else f"`{own}` (cgroup version 1) is not there, or read-only"


def _patience() -> str | None:
    """What takes long and is covered in part by something shorter: `make test-long`."""
    return None if os.environ.get("LAUNCH_TESTS_LONG") else "it takes long: LAUNCH_TESTS_LONG=1 runs it"


OTHERS: dict[str, Callable[[], str | None]] = {
    "device-cgroup": _device_cgroup,
    "patience": _patience,
    "ordinary-user": _ordinary_user,
    "slurm": _slurm,
    "slurmdbd": _slurmdbd,
}
"""Word → why not; None when it is there."""


@cache
def _missing(word: str) -> str | None:
    """Why *word* is not available here; None when it is. Raises KeyError for an unknown word."""
    if word in PROGRAMS:
        return None if shutil.which(word) else f"`{word}` is not installed"
    if word in OTHERS:
        return OTHERS[word]()
    tried = host.check(word)
    return None if tried.ok else tried.detail


def _known(word: str) -> str:
    word = word.strip().replace("_", "-")
    if word not in host.CHECKS and word not in PROGRAMS and word not in OTHERS:
        known = ", ".join(sorted({*host.CHECKS, *PROGRAMS, *OTHERS}))
        raise pytest.UsageError(f"unknown feature `{word}`; known are {known}")
    return word


def _must_have() -> set[str]:
    return {_known(word) for word in os.environ.get("LAUNCH_TESTS_REQUIRE", "").split(",") if word.strip()}


def pytest_configure(config: pytest.Config) -> None:
    _must_have()
    # A shell starts its background jobs with SIGINT ignored, and so would be whatever a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    leave_the_mounts_of_others()
    name, _, value = MARK.partition("=")
    os.environ[name] = value
    # The epoch must not matter; where it does, the header says which one it was.
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(random.SystemRandom().randrange(86_400, 2**31)))


def pytest_report_header() -> str:
    return f"SOURCE_DATE_EPOCH={os.environ['SOURCE_DATE_EPOCH']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("requires"):
            for word in map(_known, marker.args):
                if word in ROOTS_ALONE and item.get_closest_marker("any_user"):
                    raise pytest.UsageError(f"{item.nodeid}: `any_user`, and needs `{word}`: CI would run it nowhere")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for word in map(_known, marker.args):
            _require(word)


def _require(word: str) -> None:
    reason = _missing(word)
    if reason is None:
        return
    if word in _must_have():
        pytest.fail(f"`{word}` must be here (LAUNCH_TESTS_REQUIRE) and is not: {reason}", pytrace=False)
    pytest.skip(f"needs `{word}`: {reason}")


@pytest.fixture
def gpu_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., GpuBox]]:
    """`gpu_box(gpus=2, …)`: a machine with GPUs that this process and its children see instead of the real one (gpu_box.py)."""
    _require("cc")
    from gpu_box import make_box

    made: list[GpuBox] = []

    def make(**wishes: Any) -> GpuBox:
        made.append(make_box(tmp_path / f"box{len(made)}", **wishes))
        made[-1].use(monkeypatch)
        return made[-1]

    yield make
    for box in made:
        box.remove()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").ensure()


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A LAUNCH_HOME of the test's own; the variable keeps its value."""
    return StateDir(tmp_path / "home").ensure()


@pytest.fixture
def run_dir(state: StateDir) -> RunDir:
    """A run in *state* whose journal is empty."""
    return new_run_dir(state)


@pytest.fixture(scope="session", autouse=True)
def private_launch_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the user's own LAUNCH_HOME, or leaves a helper. One that needs its own sets the variables itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAUNCH_HOME", str(tmp_path_factory.mktemp("launch-home")))
        patch.setenv("LAUNCH_WARM", "0")
        yield


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Mounts, links, cgroups and processes are the same before and after (kernel and e2e tests)."""
    if not request.node.nodeid.startswith(CHECKED_FOR_LEAKS):
        yield
        return
    before = traces()
    yield
    left = left_behind(before, within_s=_SETTLED_WITHIN_S)
    assert not left, "left behind:\n" + "\n".join(sorted(left))
