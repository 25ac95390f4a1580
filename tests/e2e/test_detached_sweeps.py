"""A sweep belongs to a process of its own: whoever started it may leave, and any shell may come back."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from launch_command import Launch, write_project
from terminal_session import TerminalSession
from victims import process_children

from launcher.run.start.supervisor_link import open_supervisor
from launcher.sweep.trial_log import read_trials
from runtime.state_dir import StateDir

pytestmark = [pytest.mark.requires("overlayfs", "userns"), pytest.mark.any_user]

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/nap}
command: [python3, nap.py, "${params.x}"]
params: {x: 1}
cpus: 0.5
memory: 128MiB
grace: 1s
tracking: null
sweep: {metric: score, direction: minimize, parallel: 1}
"""

PROGRAM = """\
import json, os, sys, time
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"step": 0, "score": float(sys.argv[1])}) + "\\n")
time.sleep(0.7)
"""


@pytest.fixture
def naps(session_home: Path, tmp_path: Path) -> Launch:
    return Launch(session_home, write_project(tmp_path / "naps", "nap", experiment=EXPERIMENT, program=PROGRAM))


def goes_on(launch: Launch, sweep: str) -> bool:
    pidfd = open_supervisor(StateDir(launch.home).run(sweep))
    if pidfd is not None:
        os.close(pidfd)
    return pidfd is not None


def test_one_leaves_a_sweep_comes_back_and_ends_it_from_any_shell(naps: Launch) -> None:
    sweep = naps("-d", "-m", "experiment=nap", "params.x=1,2,3,4,5,6,7,8").stdout.strip()
    assert sweep in naps("ps").stdout
    with TerminalSession(naps, "attach", sweep) as first:
        first.wait_for("of 8 trials ended")
        first.process.kill()
    with TerminalSession(naps, "attach", "@last") as second:
        second.wait_for("params.x=2")
        second.type("\x1c")
        second.wait_for(f"left; the sweep goes on, `launch attach {sweep}`")
        assert 0 == second.end()
    with TerminalSession(naps, "attach", sweep) as third:
        third.wait_for("of 8 trials ended")
        assert goes_on(naps, sweep)
        third.type("\x03")
        third.wait_for("finishing 1 running trial, again to stop")
        third.wait_for(f"launch resume {sweep}")
        assert 130 == third.end()

    counted = [line for line in naps("logs", sweep).stdout.splitlines() if "finished" in line]
    assert 2 <= len(counted) < 8
    assert counted[0].startswith("trial 1/8  params.x=1  finished")
    assert sweep == naps("resume", "-d", sweep).stdout.strip()
    naps("stop", "@last")
    assert not goes_on(naps, sweep)
    done = naps("wait", sweep, check=1)
    assert "best   trial 1, run" in done.stderr
    assert "not done" in done.stderr


def test_the_command_that_watches_may_be_killed_and_the_sweep_must_not(naps: Launch) -> None:
    watcher = naps.start("-m", "experiment=nap", "params.x=1,2,3")
    assert watcher.stderr is not None
    assert any("trial 1/3" in line for line in iter(watcher.stderr.readline, ""))
    sweep = naps.record("@last")["run_id"]
    watcher.kill()
    watcher.communicate()
    assert naps("wait", sweep).stderr.count("finished") >= 3

    second = naps.start("-m", "experiment=nap", "params.x=1,2,3")
    assert second.stderr is not None
    assert any("trial 1/3" in line for line in iter(second.stderr.readline, ""))
    killed = naps.record("@last")["run_id"]
    pidfd = open_supervisor(StateDir(naps.home).run(killed))
    assert pidfd is not None
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    _out, err = second.communicate(timeout=60)
    assert (125, True) == (second.returncode, f"`launch resume {killed}` goes on with it" in err), err
    naps("resume", killed)
    assert "complete" in naps("sweep", "show", killed).stdout


def test_what_a_sweep_starts_hears_signals(naps: Launch) -> None:
    """The local MLflow server may be among it, which is asked to end like any other process."""
    sweep = naps("-d", "-m", "experiment=nap", "params.x=1,2").stdout.strip()
    run_dir, deadline = StateDir(naps.home).run(sweep), time.monotonic() + 60
    while not any(trial.tries for trial in read_trials(run_dir.trials).values()):
        assert time.monotonic() < deadline, "no trial began"
        time.sleep(0.02)
    process = json.loads(run_dir.supervisor_lock.read_text())["pid"]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in (process, *process_children(process))]
    assert 2 <= len(status)
    assert {0} == {int(line.split()[1], 16) for text in status for line in text.splitlines() if line.startswith("SigBlk")}
    naps("wait", sweep)
