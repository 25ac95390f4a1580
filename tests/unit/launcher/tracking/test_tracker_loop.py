"""What a tracker goes through while its run goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from journal_lines import write_event

from launcher.run import active
from launcher.tracking import tracker_loop
from launcher.tracking.metrics.metric_log import Observed
from launcher.tracking.metrics.system_sampler import SystemSampler
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.description import Description
from runtime.cgroup.limits import Usage
from runtime.cgroup.oom import OomKills
from runtime.state_dir import RunDir, StateDir


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return active.new_run(StateDir(tmp_path / "home").ensure())


@pytest.mark.parametrize("in_the_way", ["system.jsonl", "journal.jsonl"])
def test_a_sample_that_finds_no_room_ends_no_tracker(run_dir: RunDir, in_the_way: str) -> None:
    (run_dir.root / in_the_way).mkdir()
    watched, over = os.pipe()
    looks = 0

    def usage() -> Usage:
        nonlocal looks
        looks += 1
        if looks == 3:
            os.close(over)
        return Usage(cpu_s=1.0, memory_bytes=5, oom_kills=looks)

    described = Description("digits", "digits", "ada", 0, system_interval_s=0.01)
    sampler = SystemSampler(run_dir, described, read=usage, oom_kills=lambda: OomKills(1), traffic=lambda: None)
    serving = tracker_loop.Serving(SimpleNamespace(wake=lambda: None), SimpleNamespace(), sampler)  # type: ignore[arg-type]
    tracker_loop._watch(run_dir, Observed(run_dir), serving, channel=None, alive_fd=watched)
    assert 3 == looks


def test_words_that_find_no_room_leave_the_tracker_to_what_else_it_has_to_do(run_dir: RunDir) -> None:
    run_dir.tracker_state.mkdir()
    write_event(run_dir.journal, "created", run_id=run_dir.run_id)
    state = tracker_loop.tracker_state.TrackerState()
    tracker_loop._leave_word(run_dir, state, Observed(run_dir), failure="no answer")
    assert "no answer" == state.failure


@pytest.mark.parametrize("removed", [False, True])
def test_nobody_starts_a_server_for_a_run_that_was_removed(
    run_dir: RunDir, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[StateDir] = []
    monkeypatch.setattr("launcher.tracking.mlflow.local_server.start_in_background", started.append)
    home = run_dir.root.parents[1]
    if removed:
        shutil.rmtree(home)
    sink = SimpleNamespace(run_dir=run_dir, address=LocalAddress(home))
    tracker_loop.Pusher(sink)._start_server()  # type: ignore[arg-type]
    assert ([] if removed else [StateDir(home)]) == started
