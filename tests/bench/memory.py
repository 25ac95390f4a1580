"""What stays in memory: the warm helper, supervisors of separate launches, a sweep; and how soon ten thousand runs are listed."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import launches
from bench import Bench
from launches import Launch
from paired import Case, Group, Line

from launcher.run.start.supervisor_link import open_supervisor
from launcher.run.start.warm_helpers import find_helpers
from runtime.state_dir import StateDir

LAUNCHES = 100
EXPERIMENT = """\
# @package _global_
description: Waits, or does nothing
command: sleep ${params.seconds}
params: {seconds: 0, number: 0}
network: none
cpus: 0.2
memory: 32MiB
"""

_LOOK_EVERY_S = 0.5


@contextmanager
def _memory(bench: Bench) -> Iterator[Sequence[Line]]:
    launch = _waiting(bench)
    yield (
        Line("memory of the warm helper, PSS", Case("launch", lambda: _of_helper(launch), "MB"), None, 40),
        Line(f"… of a supervisor of {LAUNCHES} launches, PSS", Case("launch", lambda: _of_supervisors(launch), "MB"), None, 10),
        Line("… by which a sweep grows, of each trial", Case("launch -m", lambda: _of_sweep(launch, 1000), "KB"), None, 1),
    )


@contextmanager
def _ten_thousand(bench: Bench) -> Iterator[Sequence[Line]]:
    launch = _waiting(bench).in_home(bench.launch.home / "many")
    looks = {
        "runs": ("runs",),
        "runs --where … --sort …": ("runs", "--where", "params.number < 100", "--sort", "duration desc"),
        "runs show @last": ("runs", "show", "@last"),
        "sweep show @last": ("sweep", "show", "@last"),
    }
    grown = Case("launch -m", lambda: _of_sweep(launch, 10_000), "KB")
    listed = [
        Line(f"`launch {name}` of 10,000 runs", Case(name, lambda words=words: launch.whole(*words)), None, 0.3)
        for name, words in looks.items()
    ]
    yield [Line("memory by which a sweep of 10,000 trials grows, of each", grown, None, 1), *listed]


def _waiting(bench: Bench) -> Launch:
    launch = bench.launch.in_project(launches.new_project(bench.scratch / "waiting", {"wait": EXPERIMENT}))
    launch.whole("experiment=wait")
    return launch


def _of_helper(launch: Launch) -> float:
    """After a launch, and a look at its runs."""
    launch.whole("experiment=wait")
    launch.whole("runs")
    return max((helper.memory_bytes / 1e6 for helper in find_helpers()), default=float("nan"))


def _of_supervisors(launch: Launch) -> float:
    """The mean, while all of them run."""
    state = StateDir(launch.home)
    runs = [launch.output("-d", "experiment=wait", "params.seconds=600").strip() for _number in range(LAUNCHES)]
    try:
        return statistics.mean(_pss_mb(_holder(state.run(run).supervisor_lock)) for run in runs)
    finally:
        launch.whole("kill", *runs)


def _of_sweep(launch: Launch, trials: int) -> float:
    """KB a trial by which its process has grown from the first fifth of the trials to the end."""
    sweep = launch.output("-d", "-m", "experiment=wait", f"params.number=range(0,{trials})", "tracking=none").strip()
    run_dir = StateDir(launch.home).run(sweep)
    looks: list[tuple[int, float]] = []
    while (pidfd := open_supervisor(run_dir)) is not None:
        os.close(pidfd)
        ended = run_dir.trials.read_bytes().count(b'"ended"') if run_dir.trials.exists() else 0
        if ended >= trials // 5:
            with suppress(OSError):  # it has just ended
                looks.append((ended, _pss_mb(_holder(run_dir.supervisor_lock))))
        time.sleep(_LOOK_EVERY_S)
    (first, before), (last, after) = looks[0], looks[-2]
    return (after - before) * 1000 / (last - first)


def _holder(lock: Path) -> int:
    return int(json.loads(lock.read_text())["pid"])


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


GROUPS = (
    Group("memory", _memory, rounds=1, warmups=0),
    Group("many", _ten_thousand, rounds=1, warmups=0, only_named=True),
)
