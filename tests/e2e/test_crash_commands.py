"""`kill -9` of what any command has brought into being, at any moment: after `launch ps` nothing is left, and MLflow is right.

LAUNCH_TESTS_KILLS=100 pytest tests/e2e/test_crash_commands.py     that many blows; one of each kind by default
LAUNCH_TESTS_SEED=7 LAUNCH_TESTS_KILL=43 …                         the blow that a failure named, alone
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_commands import KINDS, CommandRounds, command_blow
from crash_rounds import make_project
from launch_command import Launch
from registry_server import registry_server
from server_peer import Server, stop_server
from victims import kill_helpers

from runtime.state_dir import StateDir
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns", "docker-registry")

SEED = int(os.environ.get("LAUNCH_TESTS_SEED") or random.SystemRandom().randrange(10_000))
KILLS = int(os.environ.get("LAUNCH_TESTS_KILLS", str(len(KINDS))))

VERIFIED = """\
# @package _global_
image: {{base: "oci:{base}", requirements: []}}
code: {{root: experiments/crash}}
command: [python3, crash.py]
tracking: null
"""


@pytest.fixture
def rounds(session_home: Path, tmp_path: Path, recorded: Server) -> Iterator[CommandRounds]:
    launch = Launch(session_home, make_project(tmp_path / "project"))
    launch("build", "experiment=crash", "-q")
    store = Store(session_home / "store")
    export_oci_layout(store.image("crash"), store, tmp_path / "base")
    (launch.project / "conf/experiment/verified.yaml").write_text(VERIFIED.format(base=tmp_path / "base"))
    launch("build", "experiment=verified", "-q")
    launch("-q", "experiment=crash")
    ended = str(launch.record()["run_id"])
    bystander = launch("-d", "experiment=crash", "tracking=none", "env.PAUSE_S='3000'").stdout.strip()
    with tempfile.TemporaryDirectory(prefix="pulled-") as elsewhere, registry_server(tmp_path / "registry") as registry:
        launch("push", "crash", f"{registry.address}/crash:base")
        yield CommandRounds(launch, registry.address, bystander, Path(elsewhere), ended)
        for home in Path(elsewhere).iterdir():
            stop_server(StateDir(home))
            shutil.rmtree(home, ignore_errors=True)
    launch("kill", bystander)
    kill_helpers()


def test_a_kill_within_any_command_leaves_nothing_behind_and_no_untruth(rounds: CommandRounds) -> None:
    alone = os.environ.get("LAUNCH_TESTS_KILL")
    wrong = []
    for number in [int(alone)] if alone else range(KILLS):
        blow = command_blow(SEED, number)
        try:
            said = rounds.play(blow)
        except AssertionError as failure:
            said = [str(failure)]
        print(f"{number} {blow}: {rounds.struck} {said or 'ok'}", flush=True)
        if said:
            wrong.append(f"LAUNCH_TESTS_SEED={SEED} LAUNCH_TESTS_KILL={number}: {blow}\n    " + "\n    ".join(said))
    assert not wrong, f"{len(wrong)} of {KILLS} blows:\n" + "\n".join(wrong)
