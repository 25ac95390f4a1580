"""How long a GPU idles between two trials: a sweep on a machine with GPUs that isn't there (tests/gpu_box.py).

    python tests/bench/sweep_slots.py --gpus 8 --trials 64

Trials sleep for 1 to 5 s. A GPU idles from the end of one trial's program to the start of the next one's on it, by the journals:
`finished` and `started`. The last trial of each GPU ends its account.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpu_box import make_box
from journal_lines import read_lines

EXPERIMENT = """\
# @package _global_
description: Sleeps, to see how soon a GPU is used again
command: sleep ${params.seconds}
params: {seconds: 1}
gpus: 1
cpus: 0.25
memory: 64MiB
tracking: null
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gpus", type=int, default=8)
    options.add_argument("--trials", type=int, default=64)
    options.add_argument("--home", type=Path, help="LAUNCH_HOME to use; its own and removed by default")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="launch-slots-") as scratch:
        os.chmod(scratch, 0o755)
        box = make_box(Path(scratch) / "box", gpus=chosen.gpus)
        try:
            _measure(chosen, Path(scratch), box.env)
        finally:
            box.remove()


def _measure(chosen: argparse.Namespace, scratch: Path, box: dict[str, str]) -> None:
    home = chosen.home or scratch / "home"
    project = scratch / "project"
    (project / "conf/experiment").mkdir(parents=True)
    (project / "conf/experiment/sleep.yaml").write_text(EXPERIMENT)
    dice = random.Random(0)
    seconds = ",".join(f"{dice.uniform(1, 5):.3f}" for _ in range(chosen.trials))
    beside = Path(sys.executable).with_name("launch")
    launch = [str(beside) if beside.exists() else "launch", "-m", "experiment=sleep", f"params.seconds={seconds}"]
    before = set(os.listdir(home / "runs")) if (home / "runs").exists() else set()
    subprocess.run(launch, cwd=project, env={**os.environ, **box, "LAUNCH_HOME": str(home)}, check=True)
    spans = _spans(home, before)
    pairs = [(earlier, later) for of in spans.values() for earlier, later in pairwise(sorted(of))]
    idle_s = sum(later.started - earlier.finished for earlier, later in pairs)
    busy_s = sum(span.finished - span.started for of in spans.values() for span in of)
    print(f"\n{chosen.gpus} GPUs, {chosen.trials} trials: idle {100 * idle_s / (idle_s + busy_s):.1f} % between trials")
    _print("gap", [later.started - earlier.finished for earlier, later in pairs])
    _print("  until the next trial has the GPU", [later.leased - earlier.finished for earlier, later in pairs])
    _print("  until its program runs", [later.started - later.leased for _earlier, later in pairs])


def _print(what: str, seconds: list[float]) -> None:
    print(f"{what}: median {statistics.median(seconds) * 1000:.0f} ms, longest {max(seconds) * 1000:.0f} ms")


class Span(NamedTuple):
    """One trial on a GPU, by its journal."""

    started: float
    finished: float
    leased: float


def _spans(home: Path, before: set[str]) -> dict[str, list[Span]]:
    """GPU → the trials that it had."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for name in set(os.listdir(home / "runs")) - before:
        events = {event.name: event for event in read_lines(home / "runs" / name / "journal.jsonl")}
        if "leased" in events and "started" in events and "finished" in events:
            for uuid in events["leased"].get("gpus"):
                spans[uuid].append(Span(events["started"].at, events["finished"].at, events["leased"].at))
    return spans


if __name__ == "__main__":
    main()
