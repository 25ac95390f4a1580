"""What pruning brings: ASHA against random search on the digits program, the same epochs for both.

    python tests/bench/asha.py              # five seeds, about five minutes
    python tests/bench/asha.py --quick      # two seeds

Both draw from the same space. Random search trains every point to the end. ASHA starts more points and lets the best quarter go
on at 1 and 4 epochs; its trials count, in the order of their numbers, until they have used the epochs of the random search. An
epoch of digits takes 40 ms, less than a word to a process and back: here it lasts as long as `--epoch`, so that what a trial
trains between its report and its end is as little as with programs that somebody would prune. Not timed: it may run on a busy
machine.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import launches
from paired import machine, parser

from launcher.run.compare import read_series
from runtime.state_dir import StateDir

METRIC = "val_accuracy"
EPOCHS = 9
RANDOM_TRIALS = 6
MOST_ASHA_TRIALS = 36
BUDGET = EPOCHS * RANDOM_TRIALS

EXPERIMENT = """\
# @package _global_
defaults: [digits, _self_]
command: python3 slow_epochs.py
cpus: 1
params: {{epochs: {epochs}, epoch_s: 0.5}}
tracking: null
sweep:
  metric: val_accuracy
  direction: maximize
  value: best
  space:
    params:
      lr: "tag(log, interval(1e-5, 1.0))"
      batch_size: "choice(32, 64, 128)"
      hidden: "choice([8], [16], [32], [64], [64, 32])"
"""

PROGRAM = """\
import json, os, time
import train
epoch_s = json.load(open(os.environ["LAUNCH_PARAMS"]))["epoch_s"]
said = train.report
def report(metrics, epochs):
    said(metrics, epochs)
    time.sleep(epoch_s)
train.report = report
train.main()
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found within the budget."""

    best: float
    trials: int
    epochs: int


def main() -> None:
    options = parser(__doc__, rounds=5)
    launches.add_options(options)
    options.add_argument("--epoch", type=float, default=0.5, metavar="S", help="seconds that an epoch takes (0.5)")
    options.add_argument("--quick", action="store_true", help="two seeds")
    chosen = options.parse_args()
    launch = launches.launches(chosen)[0]
    here = launches.Launch(launch.command, launch.home, _project(chosen.home / "asha"))
    seeds = range(1, (2 if chosen.quick else chosen.rounds) + 1)
    pruned = ["sweep.pruner={kind: asha, min_reports: 1, reduction: 4}", f"sweep.trials={MOST_ASHA_TRIALS}"]
    found = {"random": [], "asha": []}
    for seed in seeds:
        for name, how in (("random", [f"sweep.trials={RANDOM_TRIALS}"]), ("asha", pruned)):
            found[name].append(_search(here, seed, f"params.epoch_s={chosen.epoch}", *how))
            print(f"  seed {seed}  {name}  {found[name][-1]}", file=sys.stderr)
    _print(found)


def _search(launch: launches.Launch, seed: int, *settings: str) -> Found:
    launch.whole("-m", "experiment=slow_digits", "sweep=random", f"sweep.seed={seed}", *settings)
    trials = json.loads(launch.output("sweep", "show", "@last", "--json"))["trials"]
    state = StateDir(launch.home)
    best, used, counted = 0.0, 0, 0
    for trial in trials:
        reports = [value for (name, _), value in sorted(read_series(state.run(trial["run"])).items()) if name == METRIC]
        reports = reports[: BUDGET - used]
        if not reports:
            break
        best, used, counted = max(best, *reports), used + len(reports), counted + 1
    return Found(best, counted, used)


def _print(found: dict[str, list[Found]]) -> None:
    print(f"### ASHA and random search, {BUDGET} epochs each\n\n{machine()}\n")
    print(f"| search | median best {METRIC} | of each seed | trials | epochs |\n| --- | --- | --- | --- | --- |")
    for name, each in found.items():
        values = ", ".join(f"{one.best:.4f}" for one in each)
        trials = statistics.median(one.trials for one in each)
        epochs = statistics.median(one.epochs for one in each)
        print(f"| {name} | {statistics.median(one.best for one in each):.4f} | {values} | {trials:g} | {epochs:g} |")
    print(flush=True)


def _project(directory: Path) -> Path:
    launches.project(directory)
    (directory / "conf/experiment/slow_digits.yaml").write_text(EXPERIMENT.format(epochs=EPOCHS))
    (directory / "experiments/digits/slow_epochs.py").write_text(PROGRAM)
    return directory


if __name__ == "__main__":
    main()
