"""`kill -9` of a sweep, its fork server, its trials' supervisors at any moment: `launch resume` counts every trial once.

LAUNCH_TESTS_SWEEP_KILLS=50 pytest tests/e2e/test_crash_sweeps.py     that many sweeps; a few by default
LAUNCH_TESTS_SEED=7 …                                                 the same blows again
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from launch_command import Launch
from victims import process_children

from launcher.run.start.supervisor_link import open_supervisor
from launcher.sweep.trial_log import LoggedTrial, Verdict, read_trials
from runtime.state_dir import StateDir

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

SEED = int(os.environ.get("LAUNCH_TESTS_SEED") or random.SystemRandom().randrange(10_000))
KILLS = int(os.environ.get("LAUNCH_TESTS_SWEEP_KILLS", "2"))
TRIALS = 8
LIFE_S = 4.0
"""How long a sweep of so many trials takes, about: blows fall within it."""


def test_every_trial_of_a_killed_and_resumed_sweep_is_counted_once(launch: Launch) -> None:
    launch("experiment=probe")  # the image is there: blows shall hit trials
    wrong = {}
    for number in range(KILLS):
        dice = random.Random(f"{SEED}/{number}")
        said = list(_round(launch, dice))
        if said:
            wrong[number] = said
    assert not wrong, f"seed {SEED}: {wrong}"


def _round(launch: Launch, dice: random.Random) -> Iterator[str]:
    known = set(os.listdir(launch.home / "runs"))
    values = "params.lr=" + ",".join(f"0.{digit}" for digit in range(1, TRIALS + 1))
    words = ["-m", "experiment=probe", values, "cpus=0.25", f"sweep.parallel={dice.choice([1, 2, 4])}"]
    said: list[str] = []
    sweep: str | None = None
    for _blow in range(dice.choice([1, 1, 2, 3])):
        process = launch.start(*(words if sweep is None else ["resume", sweep]))
        time.sleep(dice.random() * LIFE_S)
        said.append(_strike(process, _holder(launch, sweep or _parent(launch, known)), dice))
        _out, err = process.communicate(timeout=120)
        said.append(err)
        sweep = sweep or _parent(launch, known)
    if sweep is None:
        return  # killed before it was one
    done = launch("resume", sweep, check=None, timeout_s=120)
    said.append(done.stderr)
    found = list(_untruths(launch, sweep, known))
    if done.returncode != 0:
        found.append(f"resume ended with {done.returncode}")
    yield from [f"{words}: {'; '.join(found)}", *said] if found else []


def _holder(launch: Launch, sweep: str | None) -> int | None:
    """The sweep's process; None before it has one, and after."""
    if sweep is None:
        return None
    pidfd = open_supervisor(StateDir(launch.home).run(sweep))
    if pidfd is None:
        return None
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            return next(int(line.split()[1]) for line in info if line.startswith("Pid:"))
    finally:
        os.close(pidfd)


def _strike(process: subprocess.Popen[str], holder: int | None, dice: random.Random) -> str:
    """Kill the sweep, and often the command that watches it and one or all of those who work for it. Before there is a sweep: the
    command, which has what becomes its process."""
    servers = [pid for pid in process_children(process.pid) if pid != holder]
    supervisors = [pid for server in servers for pid in process_children(server)]
    victims = [process.pid, *servers] if holder is None else [holder]
    victims += [process.pid] if holder is not None and dice.random() < 0.5 else []
    victims += servers if dice.random() < 0.5 else []
    victims += [pid for pid in supervisors if dice.random() < 0.5]
    dice.shuffle(victims)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return f"killed {len(victims)} of 1 + {len(servers)} + {len(supervisors)}"


def _parent(launch: Launch, known: set[str]) -> str | None:
    for name in set(os.listdir(launch.home / "runs")) - known:
        if (launch.home / "runs" / name / "sweep.json").exists():
            return name
    return None


def _untruths(launch: Launch, sweep: str, known: set[str]) -> Iterator[str]:
    state = StateDir(launch.home)
    trials = read_trials(state.run(sweep).trials)
    if sorted(trials) != list(range(1, TRIALS + 1)):
        yield f"trials {sorted(trials)}"
    points = Counter(logged.asked.overrides for logged in trials.values())
    if len(points) != TRIALS:
        yield f"points {points}"
    for number, logged in trials.items():
        yield from _wrong_with(number, logged, state)
    tried = {each.run_id for logged in trials.values() for each in logged.tries}
    for run in launch.runs():
        if run["sweep_id"] == sweep and run["run_id"] != sweep and run["run_id"] not in tried and run["status"] != "KILLED":
            yield f"run {run['run_id']} ran and nobody counts it: {run['status']} {run['reason']}"
    listed = launch.record(sweep)
    if (listed["status"], listed["facts"].get("trials_finished")) != ("FINISHED", TRIALS):
        yield f"the sweep's record says {listed['status']}, {listed['facts']}"


def _wrong_with(number: int, logged: LoggedTrial, state: StateDir) -> Iterator[str]:
    final = [each for each in logged.tries if each.verdict is not None and each.verdict.is_final]
    if [Verdict.COMPLETE] != [each.verdict for each in final]:
        yield f"trial {number} was decided {[str(each.verdict) for each in final]}"
    completed = [each.run_id for each in logged.tries if _exit_code(state.run(each.run_id).exit_record) == 0]
    if len(completed) != 1:
        yield f"trial {number} was completed by {completed}"


def _exit_code(record: Path) -> int | None:
    """As init saw it."""
    with suppress(FileNotFoundError, ValueError):
        return int(json.loads(record.read_text().partition("\n")[0])["code"])
    return None
