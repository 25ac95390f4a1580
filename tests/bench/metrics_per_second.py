"""What logging 1,000 metrics a second through the gateway costs a program, and whether one is lost.

    python tests/bench/metrics_per_second.py

The same program ([chatter.py](chatter.py)) takes turns: it computes for a fixed amount of work, ten steps a second, and logs 100
metrics after each step:

    nowhere    not at all
    mlflow     with MLflow's client, in one call, as a training with MLflow does it
    deaf       the same, to a server beside it that reads, says what it has to and does nothing: what the client takes by itself
    file       as a line of `$LAUNCH_METRICS`

What counts is the program's own seconds from the first step to the last; what the gateway costs is `mlflow` against `deaf`. After
a run every point is asked from MLflow: all are there, in order, none twice; one that isn't ends the measurement. A second table
has what a call took, and what tracker and server used of the CPU until the program's end was recorded.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import launches
from beside_program import BesideProgram
from paired import Case, measure, parser

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.rest import Mlflow

METRICS = 100
STEP_S = 0.1
HEADINGS = "| case | a call, median | 99 of 100 | CPU: tracker | CPU: server | memory: tracker |"
WAYS = ("nowhere", "mlflow", "deaf", "file")

EXPERIMENT = f"""\
# @package _global_
description: Logs as fast as it is told
image: {{requirements: [mlflow-skinny]}}
code: {{root: experiments/chatter}}
command: [python3, chatter.py, "${{params.how}}", "${{params.steps}}", "${{params.work}}", "{METRICS}"]
params: {{how: nowhere, steps: 600, work: 0}}
cpus: 1
memory: 512MiB
"""


@dataclass(slots=True)
class Seen:
    """What was seen of one way of logging, over all its runs."""

    calls_s: list[float] = field(default_factory=list)
    tracker_s: list[float] = field(default_factory=list)
    server_s: list[float] = field(default_factory=list)
    tracker_bytes: list[int] = field(default_factory=list)

    def row(self, name: str) -> str:
        cuts = statistics.quantiles(self.calls_s, n=100)
        of_calls = [f"{1000 * value:.1f} ms" for value in (cuts[49], cuts[98])]
        of_cpu = [f"{statistics.median(values):.2f} s" for values in (self.tracker_s, self.server_s)]
        return f"| {' | '.join([name, *of_calls, *of_cpu, f'{max(self.tracker_bytes) / 1e6:.1f} MB'])} |"


def main() -> None:
    options = parser(__doc__, rounds=3)
    launches.add_options(options)
    options.add_argument("--seconds", type=float, default=60, help="how long a program computes (60)")
    chosen = options.parse_args()
    project = _project(chosen.home / "chatter")
    steps = round(chosen.seconds / STEP_S)
    cases: list[Case] = []
    seen: dict[str, Seen] = defaultdict(Seen)
    for number, launch in enumerate(launches.launches(chosen)):
        here = launches.Launch(launch.command, launch.home, project)
        work = int(int(here.output("experiment=chatter").split()[-1]) * STEP_S)
        for how in WAYS:
            into = seen[f"{how} {number}" if number else how]
            cases += launches.cases(
                [here], how, lambda here, how=how, work=work, into=into: _seconds(here, how, steps, work, into)
            )
    measure(f"{METRICS} metrics, ten times a second", cases, rounds=chosen.rounds, warmups=0)
    print(f"{HEADINGS}\n|{' --- |' * HEADINGS.count(' | ')} --- |")
    print("\n".join(found.row(name) for name, found in seen.items()))


def _seconds(launch: launches.Launch, how: str, steps: int, work: int, into: Seen) -> float:
    words = (f"params.how={how}", f"params.steps={steps}", f"params.work={work}")
    with BesideProgram(launch.home) as beside:
        said = json.loads(launch.output("experiment=chatter", *words).splitlines()[-1])
    into.calls_s += said["calls"]
    into.tracker_s.append(beside.tracker_s)
    into.server_s.append(beside.server_s)
    into.tracker_bytes.append(beside.tracker_bytes)
    if how in ("mlflow", "file"):
        _check(launch, steps)
    return float(said["seconds"])


def _check(launch: launches.Launch, steps: int) -> None:
    """Every point is in MLflow, once and in order."""
    run_id = json.loads(launch.output("runs", "show", "@last", "--json"))["mlflow_run_id"]
    client = Mlflow(LocalAddress(launch.home))
    for number in range(METRICS):
        history = client.get("metrics/get-history", run_id=run_id, metric_key=f"metric_{number:03}")
        found = [int(point.get("step", 0)) for point in history["metrics"]]
        if found != list(range(steps)):
            raise SystemExit(f"metric {number} has {len(found)} points of {steps}: {found[:5]} … {found[-5:]}")


def _project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True, exist_ok=True)
    (directory / "experiments/chatter").mkdir(parents=True, exist_ok=True)
    (directory / "conf/experiment/chatter.yaml").write_text(EXPERIMENT)
    shutil.copy(Path(__file__).with_name("chatter.py"), directory / "experiments/chatter")
    return directory


if __name__ == "__main__":
    main()
