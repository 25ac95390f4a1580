"""What logging 1,000 metrics a second costs a program, and whether one is lost.

The same program ([chatter.py](chatter.py)) takes turns: it computes for a fixed amount of work, ten steps a second, and logs 100
metrics after each step: with MLflow's client, in one call, as a training with MLflow does it; the same to a server beside it that
reads and does nothing (what the client takes by itself); as a line of `$LAUNCH_METRICS`. What counts is the program's own seconds
from the first step to the last. After a run every point is asked from MLflow: all are there, in order, none twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import launches
from bench import Bench
from launches import Launch
from paired import Case, Group, Line

from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.rest import Mlflow

METRICS = 100
STEPS_A_SECOND = 10
STEPS = 12 * STEPS_A_SECOND

EXPERIMENT = f"""\
# @package _global_
description: Logs as fast as it is told
image: {{requirements: [mlflow-skinny]}}
code: {{root: code}}
command: [python3, chatter.py, "${{params.how}}", "{STEPS}", "${{params.work}}", "{METRICS}"]
params: {{how: nowhere, work: 0}}
network: none
cpus: 1
memory: 512MiB
"""


@contextmanager
def _metrics(bench: Bench) -> Iterator[Sequence[Line]]:
    project = launches.new_project(bench.scratch / "chatter", {"chatter": EXPERIMENT})
    (project / "code").mkdir()
    shutil.copy(Path(__file__).with_name("chatter.py"), project / "code")
    launch = bench.launch.in_project(project)
    work = int(launch.output("experiment=chatter").split()[-1]) // STEPS_A_SECOND
    ways = {how: Case(f"… {how}", lambda how=how: _seconds(launch, how, work)) for how in ("mlflow", "file", "deaf", "nowhere")}
    file, deaf = ways["file"], ways["deaf"]
    file.name, deaf.name = "into the metrics file", "MLflow's client and a server that only answers"
    yield (
        Line("1,000 metrics a second by MLflow's client", ways["mlflow"], file, 1.1),
        Line("…", ways["mlflow"], deaf),
        Line("… into the metrics file", file, ways["nowhere"]),
    )


def _seconds(launch: Launch, how: str, work: int) -> float:
    said = json.loads(launch.output("experiment=chatter", f"params.how={how}", f"params.work={work}").splitlines()[-1])
    if how in ("mlflow", "file"):
        _check(launch)
    return float(said["seconds"])


def _check(launch: Launch) -> None:
    """Every point is in MLflow, once and in order."""
    run_id = json.loads(launch.output("runs", "show", "@last", "--json"))["mlflow_run_id"]
    client = Mlflow(LocalAddress(launch.home))
    for number in range(METRICS):
        history = client.get("metrics/get-history", run_id=run_id, metric_key=f"metric_{number:03}")
        found = [int(point.get("step", 0)) for point in history["metrics"]]
        if found != list(range(STEPS)):
            raise SystemExit(f"metric {number} has {len(found)} points of {STEPS}: {found[:5]} … {found[-5:]}")


GROUPS = (Group("metrics", _metrics, rounds=3, warmups=0),)
