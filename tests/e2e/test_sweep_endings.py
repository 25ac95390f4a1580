"""How trials end, and what that means for the sweep: pruned, out of memory, too long, spoiled by the machine, cut short."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from journal_lines import read_lines
from launch_command import Launch, write_project
from victims import process_children

from launcher.journal.run_journal import read_state
from launcher.sweep.trial_log import LoggedTrial, read_trials
from runtime.state_dir import StateDir

pytestmark = pytest.mark.requires("overlayfs", "userns")

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/trial}
command: [python3, trial.py, "${params.kind}", "${params.x}", "${params.size}"]
params: {kind: ok, x: 1, size: 400}
cpus: 0.5
memory: 128MiB
grace: 1s
tracking: null
sweep: {metric: score, direction: minimize}
"""

PROGRAM = """\
import json, os, sys, time
kind, x, size = sys.argv[1], float(sys.argv[2]), int(float(sys.argv[3]))
def report(step, score):
    with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
        metrics.write(json.dumps({"step": step, "score": score}) + "\\n")
report(0, x)
if kind == "eat":
    held = b"x" * (size << 20)
if kind == "slow":
    time.sleep(3)
if kind in ("hang", "bad"):
    report(1, 1000.0 if kind == "bad" else x)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def trial_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("trials"), "trial", experiment=EXPERIMENT, program=PROGRAM)


@pytest.fixture
def trials(session_home: Path, trial_project: Path) -> Launch:
    return Launch(session_home, trial_project)


def last_sweep(launch: Launch) -> str:
    return str([run for run in launch.runs() if run["sweep_id"] == run["run_id"]][-1]["run_id"])


def logged(launch: Launch, sweep: str) -> dict[str, LoggedTrial]:
    """Trials by what sets them apart."""
    found = read_trials(StateDir(launch.home).run(sweep).trials)
    return {" ".join(trial.asked.overrides): trial for trial in found.values()}


def tries(trial: LoggedTrial) -> list[tuple[str, str | None]]:
    return [(str(each.verdict), each.reason) for each in trial.tries]


@pytest.mark.requires("cgroup-memory")
def test_each_trial_ends_by_its_own_fault_and_no_other_one_does(trials: Launch) -> None:
    limits = ["timeout=2s", "sweep.on_oom={params: {size: '/ 20'}}", "sweep.pruner={kind: threshold, options: {upper: 50}}"]
    done = trials("-m", "experiment=trial", "params.kind=ok,eat,bad,hang", *limits, check=1)
    ended = logged(trials, last_sweep(trials))
    assert [("complete", "completed")] == tries(ended["params.kind=ok"])
    assert [("again", "oom"), ("complete", "completed")] == tries(ended["params.kind=eat"])
    assert ("params.kind=eat", "params.size=20") == ended["params.kind=eat"].tries[1].overrides
    assert [("pruned", "pruned")] == tries(ended["params.kind=bad"])
    assert [("failed", "timeout")] == tries(ended["params.kind=hang"])
    assert "2 of 4 trials finished" in done.stderr


@pytest.mark.any_user
def test_a_trial_that_the_machine_spoiled_and_one_that_was_cut_short_run_again(trials: Launch) -> None:
    sweep = trials.start("-m", "experiment=trial", "params.kind=slow", "params.x=1,2", "sweep.parallel=1")
    first = wait_for_trial(trials, number=1)
    kill_all(first)
    wait_for_trial(trials, number=2)
    sweep.send_signal(signal.SIGINT)
    assert sweep.stderr is not None
    assert any("finishing 1 running" in line for line in iter(sweep.stderr.readline, ""))
    sweep.send_signal(signal.SIGINT)
    _out, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, err

    parent = last_sweep(trials)
    trials("resume", parent)
    ended = logged(trials, parent)
    assert [("again", "lost"), ("complete", "completed")] == tries(ended["params.x=1"])
    assert [("cut_short", "interrupted"), ("complete", "completed")] == tries(ended["params.x=2"])


@pytest.mark.requires("patience")
def test_a_resumed_sweep_may_try_more_and_nothing_else(trials: Launch, trial_project: Path) -> None:
    words = ["-m", "experiment=trial", "sweep=random", "params.x=interval(0,9)"]
    trials(*words, "sweep.trials=1")
    parent = last_sweep(trials)
    trials("resume", parent, "sweep.trials=3")
    assert [1, 2, 3] == sorted(trial.asked.number for trial in logged(trials, parent).values())

    refused = trials("resume", parent, "params.size=1", check=2)
    assert "params.size" in refused.stderr, refused.stderr
    program = trial_project / "experiments/trial/trial.py"
    program.write_text(PROGRAM + "# changed\n")
    refused = trials("resume", parent, "sweep.trials=4", check=2)
    assert "code" in refused.stderr, refused.stderr
    trials("resume", parent, "sweep.trials=4", "--force")
    assert 4 == len(logged(trials, parent))
    program.write_text(PROGRAM)


@pytest.mark.requires("patience")
def test_two_sweeps_take_turns_on_a_machine_that_has_room_for_one_trial(trials: Launch) -> None:
    words = ["-m", "experiment=trial", "params.kind=slow", "cpus=null"]
    one = trials.start(*words, "params.x=1,2,3,4,5")
    wait_for_trial(trials, number=1)
    other = trials.start(*words, "params.x=6,7")
    for sweep in (one, other):
        _out, err = sweep.communicate(timeout=120)
        assert (0, True) == (sweep.returncode, " trials finished" in err), err

    spans = []
    for run in (run for run in trials.runs() if run["trial"] and run["experiment"] == "trial"):
        events = {event.name: event.at for event in read_lines(StateDir(trials.home).run(run["run_id"]).journal)}
        spans.append((events["leased"], events["finished"], run["sweep_id"], run["overrides"]))
    spans = sorted(span for span in spans if any("cpus" in override for override in span[3]))
    assert 7 == len(spans)
    for (_begun, ended, *_rest), (begun, *_more) in pairwise(spans):
        assert ended <= begun, "two ran at once"
    second = spans[[sweep for _begun, _ended, sweep, _overrides in spans].index(last_sweep(trials))]
    its_parent = read_state(StateDir(trials.home).run(second[2]).journal).created_at
    meanwhile = [span for span in spans if its_parent < span[0] < second[0]]
    assert len(meanwhile) <= 2, "the second sweep had to wait for the first"


def wait_for_trial(launch: Launch, *, number: int) -> int:
    """The supervisor of the trial, once its program has begun."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run_dir in StateDir(launch.home).active.runs():
            events = read_lines(run_dir.journal)
            if events and events[0].get("trial") == number and events[-1].name in ("started", "first_output"):
                return int(json.loads(run_dir.supervisor_lock.read_text())["pid"])
        time.sleep(0.02)
    raise AssertionError(f"trial {number} did not begin")


def kill_all(supervisor: int) -> None:
    """Nobody is left who could adopt anything."""
    for pid in [*process_children(supervisor), supervisor]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
