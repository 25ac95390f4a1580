"""Trials of a program that does nothing, recorded, two at a time: beside two loops of containers that record nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import launches
from bench import Bench, beside
from paired import Case, Group, Line, busy_s_when_idle, timed
from peers import Engine

TRIALS = 100
PROGRAM = ("python3", "-c", "print(1)")
EXPERIMENT = """\
# @package _global_
description: Nothing, to see what a trial costs
command: [python3, -c, "print(1)"]
params: {number: 0}
network: none
cpus: 1
memory: 64MiB
"""


@contextmanager
def _trials(bench: Bench) -> Iterator[Sequence[Line]]:
    launch = bench.launch.in_project(launches.new_project(bench.scratch / "sweeps", {"print": EXPERIMENT}))
    launch.whole("build", "experiment=print")
    values = f"params.number=range(0,{TRIALS})"

    def sweep() -> float:
        return launch.whole("-m", "experiment=print", values, "sweep.parallel=2")

    def cpu_ms() -> float:
        before = busy_s_when_idle()
        sweep()
        return (busy_s_when_idle() - before) / TRIALS * 1000

    def peer(engine: Engine) -> Case:
        words = engine.words(engine.load(launch, "print"), *PROGRAM)
        return Case(f"`{engine.name} run`, not recorded", lambda: timed(lambda: _two_loops(words)))

    ours = Case("launch -m", sweep)
    yield (
        Line(f"{TRIALS} trials of `print(1)`, two at a time, recorded", ours, beside(bench.docker, peer), 1 / 8),
        Line("…", ours, beside(bench.podman, peer), 1 / 4),
        Line("… CPU of a trial", Case("launch -m", cpu_ms, "ms of CPU"), None, 60),
    )


def _two_loops(words: Sequence[str]) -> None:
    with ThreadPoolExecutor(2) as loops:
        for done in loops.map(lambda _number: subprocess.run(words, capture_output=True, check=False), range(TRIALS)):
            if done.returncode != 0:
                raise SystemExit(f"`{' '.join(words)}` exited with {done.returncode}: {done.stderr.decode()}")


GROUPS = (Group("trials", _trials, rounds=3),)
