"""`kill -9` of anybody at any moment: nothing is left, the records tell the truth, other runs go on untouched.

LAUNCH_TESTS_KILLS=500 pytest tests/e2e/test_crash_moments.py     that many blows; a few by default
LAUNCH_TESTS_SEED=7 LAUNCH_TESTS_KILL=43 …                        the blow that a failure named, alone
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_rounds import as_struck, blow_of, make_project, settle, strike, untruths
from gpu_box import make_box
from launch_command import Launch
from server_peer import Server
from victims import kill_helpers

from launcher.journal.events import TOOK_OVER
from runtime.host.report import check

pytestmark = pytest.mark.requires("overlayfs", "userns")

SEED = int(os.environ.get("LAUNCH_TESTS_SEED") or random.SystemRandom().randrange(10_000))
KILLS = int(os.environ.get("LAUNCH_TESTS_KILLS", "5"))


@pytest.fixture(scope="module")
def crash_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("crash") / "project")


@pytest.fixture
def crashing(session_home: Path, crash_project: Path) -> Iterator[Launch]:
    yield Launch(session_home, crash_project)
    kill_helpers()


@pytest.fixture
def bystander(crashing: Launch) -> Iterator[str]:
    """A run that nobody touches."""
    run = crashing("-d", "experiment=crash", "tracking=none", "env.PAUSE_S='900'").stdout.strip()
    yield run
    crashing("stop", run)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, ...]]:
    """How many GPUs a launch may ask for: two that aren't there, where they can be made."""
    if shutil.which("cc") is None:
        yield (0,)
        return
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)
        box = make_box(Path(directory) / "box", gpus=2)
        box.use(monkeypatch)
        yield (0, 0, 1)
        box.remove()


def test_a_kill_at_any_moment_leaves_nothing_behind_and_no_untruth(
    crashing: Launch, recorded: Server, gpus: tuple[int, ...], bystander: str
) -> None:
    networks = ("none", "bridge") if check("bridge").ok else ("none",)
    began = time.monotonic()
    crashing("experiment=crash", "tracking=none")
    life_s = time.monotonic() - began
    tends = (crashing.home / "runs" / bystander / "supervisor.lock").read_text()
    alone = os.environ.get("LAUNCH_TESTS_KILL")
    wrong = []
    for number in [int(alone)] if alone else range(KILLS):
        blow = blow_of(SEED, number, networks=networks, gpus=gpus)
        try:
            found = strike(as_struck(crashing, blow), blow, life_s=life_s)
            settle(found)
            said = list(untruths(found))
        except AssertionError as failure:
            said = [str(failure)]
        print(f"{number} {blow}: {found.struck} {said or 'ok'}", flush=True)
        if said:
            wrong.append(f"LAUNCH_TESTS_SEED={SEED} LAUNCH_TESTS_KILL={number}: {blow}\n    " + "\n    ".join(said))
    untouched = crashing.record(bystander)
    assert "RUNNING" == untouched["status"]
    assert TOOK_OVER not in untouched["notes"]
    assert tends == (crashing.home / "runs" / bystander / "supervisor.lock").read_text()
    assert not wrong, f"{len(wrong)} of {KILLS} blows:\n" + "\n".join(wrong)
