"""What pruning brings: ASHA against random search on the digits program, the same epochs for both.

    python tests/bench/asha.py              # five seeds, about a quarter of an hour
    python tests/bench/asha.py --quick      # two seeds

Both draw from the same space, which is as wide as one that somebody knows nothing about: seven decades of learning rate, seven of
weight decay, layers of 2 to 128 units, batches of 16 to 1024, three activations, SGD and Adam. (In a narrow one every point gets
to the ceiling of the data, and a search has nothing to find.) Random search trains every point to the end. ASHA starts more
points and lets the best third go on at 1, 3, 9 and 27 epochs; its trials count, in the order of their numbers, until they have
used the epochs of the random search. An epoch of digits takes 40 ms, less than a word to a process and back: here it lasts as
long as `--epoch`, so that what a trial trains between its report and its end is as little as with programs that somebody would
prune. Not timed: it may run on a busy machine.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import launches
from paired import machine, parser

from launcher.run.compare.compare import read_series
from runtime.state_dir import StateDir

METRIC = "val_accuracy"
EPOCHS = 27
RANDOM_TRIALS = 6
MOST_ASHA_TRIALS = 75
BUDGET = EPOCHS * RANDOM_TRIALS

EXPERIMENT = """\
# @package _global_
defaults: [digits, _self_]
command: python3 wide.py
cpus: 1
params: {{epochs: {epochs}, epoch_s: 0.5, activation: relu, solver: adam, alpha: 0.0001}}
tracking: null
sweep:
  metric: val_accuracy
  direction: maximize
  value: best
  parallel: 2
  space:
    params:
      lr: "tag(log, interval(1e-6, 10.0))"
      alpha: "tag(log, interval(1e-6, 10.0))"
      batch_size: "choice(16, 64, 256, 1024)"
      hidden: "choice([2], [4], [8], [16], [32], [64], [128], [64, 32], [32, 32, 32])"
      activation: "choice(logistic, tanh, relu)"
      solver: "choice(sgd, adam)"
"""

PROGRAM = """\
import functools, json, os, time
import sklearn.neural_network
import train
params = json.load(open(os.environ["LAUNCH_PARAMS"]))
sklearn.neural_network.MLPClassifier = functools.partial(
    sklearn.neural_network.MLPClassifier, **{name: params[name] for name in ("activation", "solver", "alpha")}
)
said, epoch = train.report, 0
def report(metrics, epochs):
    global epoch
    epoch = metrics["step"]
    said(metrics, epochs)
    time.sleep(params["epoch_s"])
train.report = report
train.draw_confusion_matrix = lambda *_: None
try:
    train.main()
except ValueError as diverged:  # weights that are no numbers any more: such a point has its epochs, and found nothing
    print(diverged)
    said({"step": epoch + 1, "val_accuracy": 0.0}, params["epochs"])
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
    here = launches.chosen_launch(chosen).in_project(_project(chosen.home / "asha"))
    seeds = range(1, (2 if chosen.quick else chosen.rounds) + 1)
    pruned = ["sweep.pruner={kind: asha, min_reports: 1, reduction: 3}", f"sweep.trials={MOST_ASHA_TRIALS}"]
    found = {"random": [], "asha": []}
    for seed in seeds:
        for name, how in (("random", [f"sweep.trials={RANDOM_TRIALS}"]), ("asha", pruned)):
            found[name].append(_search(here, seed, f"params.epoch_s={chosen.epoch}", *how))
            print(f"  seed {seed}  {name}  {found[name][-1]}", file=sys.stderr)
    _print(found)


def _search(launch: launches.Launch, seed: int, *settings: str) -> Found:
    launch.whole("-m", "experiment=wide_digits", "sweep=random", f"sweep.seed={seed}", *settings)
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
    print(f"ASHA better in {_wins(found)} of {len(found['asha'])} seeds\n")
    print(f"| search | median best {METRIC} | of each seed | trials | epochs |\n| --- | --- | --- | --- | --- |")
    for name, each in found.items():
        values = ", ".join(f"{one.best:.4f}" for one in each)
        trials = statistics.median(one.trials for one in each)
        epochs = statistics.median(one.epochs for one in each)
        print(f"| {name} | {statistics.median(one.best for one in each):.4f} | {values} | {trials:g} | {epochs:g} |")
    print(flush=True)


def _wins(found: dict[str, list[Found]]) -> int:
    return sum(asha.best > random.best for asha, random in zip(found["asha"], found["random"], strict=True))


def _project(directory: Path) -> Path:
    launches.project(directory)
    (directory / "conf/experiment/wide_digits.yaml").write_text(EXPERIMENT.format(epochs=EPOCHS))
    (directory / "experiments/digits/wide.py").write_text(PROGRAM)
    return directory


if __name__ == "__main__":
    main()
