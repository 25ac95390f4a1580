"""What one trial of a sweep costs beside its program: a sweep of `true`.

    python tests/bench/sweep_of_true.py

A sweep of one trial and a sweep of many take turns; the difference, divided by the additional trials, is the overhead of one:
directory, journal, container, cgroup, MLflow run. `sweep.parallel=1`, so that it is time and not throughput.
"""

from __future__ import annotations

from pathlib import Path

import launches
from paired import Case, measure, parser

EXPERIMENT = """\
# @package _global_
description: Nothing, to see what a trial costs
command: "true"
params: {number: 0}
cpus: 1
memory: 64MiB
"""


def main() -> None:
    options = parser(__doc__, rounds=5)
    launches.add_options(options)
    options.add_argument("--trials", type=int, default=20, help="additional trials of the longer sweep (20)")
    options.add_argument("--parallel", type=int, default=1, help="sweep.parallel (1)")
    chosen = options.parse_args()
    project = _project(chosen.home / "nothing")
    cases: list[Case] = []
    for launch in launches.launches(chosen):
        here = launches.Launch(launch.command, launch.home, project)
        here.whole("build", "experiment=nothing")
        cases += launches.cases([here], "sweep of 1", lambda here: _sweep(here, 1, chosen.parallel))
        cases += launches.cases(
            [here], f"sweep of {1 + chosen.trials}", lambda here: _sweep(here, 1 + chosen.trials, chosen.parallel)
        )
    measure("A sweep of `true`", cases, rounds=chosen.rounds)
    for short, long in zip(cases[::2], cases[1::2], strict=True):
        each = [(b - a) / chosen.trials for a, b in zip(short.seconds, long.seconds, strict=True)]
        print(f"one trial more: {sorted(each)[len(each) // 2] * 1000:.0f} ms (median of {len(each)})\n")


def _sweep(launch: launches.Launch, trials: int, parallel: int) -> float:
    numbers = ",".join(map(str, range(trials)))
    # A sweep wants more than one value: the single trial is a choice of one.
    values = f"choice({numbers})"
    return launch.whole("-m", "experiment=nothing", f"params.number={values}", f"sweep.parallel={parallel}")


def _project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True, exist_ok=True)
    (directory / "conf/experiment/nothing.yaml").write_text(EXPERIMENT)
    return directory


if __name__ == "__main__":
    main()
