"""What one trial of a sweep costs beside its program, and how many a second there are beside containers that record nothing.

    python tests/bench/sweep_of_true.py              # both
    python tests/bench/sweep_of_true.py --trials 50  # shorter

Alone: a sweep of one trial and a sweep of many take turns; the difference, divided by the additional trials, is one trial's
directory, journal, container, cgroup, MLflow run. Two at a time: `sweep.parallel=2` beside two loops of `docker run` and of
`podman run --network none` of the same image and program, where there are docker and podman.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import launches
from launches import Launch
from paired import Case, measure, parser, timed

EXPERIMENT = """\
# @package _global_
description: Nothing, to see what a trial costs
command: COMMAND
params: {number: 0}
cpus: 1
memory: 64MiB
"""

PROGRAM = ("python3", "-c", "print(1)")
IMAGE = "localhost/launch-bench-print:1"


def main() -> None:
    options = parser(__doc__, rounds=5)
    launches.add_options(options)
    options.add_argument("--trials", type=int, default=200, help="trials of a sweep with two at a time (200)")
    chosen = options.parse_args()
    measured = [replace(launch, project=_project(chosen.home / "sweeps")) for launch in launches.launches(chosen)]
    for launch in measured:
        launch.whole("build", "experiment=nothing")
        launch.whole("build", "experiment=print")
    _overhead(measured, rounds=chosen.rounds, more=max(1, chosen.trials // 10))
    _rates(measured, rounds=chosen.rounds, trials=chosen.trials)


def _overhead(measured: Sequence[Launch], *, rounds: int, more: int) -> None:
    cases: list[Case] = []
    for launch in measured:
        cases += launches.cases([launch], "sweep of 1", lambda launch: _sweep(launch, "nothing", 1, parallel=1))
        cases += launches.cases([launch], f"sweep of {1 + more}", lambda launch: _sweep(launch, "nothing", 1 + more, parallel=1))
    measure("A sweep of `true`", cases, rounds=rounds)
    for short, long in zip(cases[::2], cases[1::2], strict=True):
        each = [(b - a) / more for a, b in zip(short.seconds, long.seconds, strict=True)]
        print(f"one trial more: {sorted(each)[len(each) // 2] * 1000:.0f} ms (median of {len(each)})\n")


def _rates(measured: Sequence[Launch], *, rounds: int, trials: int) -> None:
    """Ratios are to the first of the peers, where there is one."""
    cases = [*_peers(measured[0], trials)]
    cases += launches.cases(measured, "launch -m, recorded in MLflow", lambda launch: _sweep(launch, "print", trials, parallel=2))
    measure(f"{trials} times `python3 -c 'print(1)'`, two at a time", cases, rounds=max(1, rounds // 2), warmups=0)
    for case in cases:
        print(f"{case.name}: {trials / sorted(case.seconds)[len(case.seconds) // 2]:.1f} a second")
    print()


def _peers(launch: Launch, trials: int) -> list[Case]:
    """Those that are here and can run our image."""
    found = []
    for program, options in (("docker", ()), ("podman", ("--network", "none"))):
        argv = [program, "run", "--rm", *options, IMAGE, *PROGRAM]
        if not _has_image(program, launch):
            continue
        tried = subprocess.run(argv, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            print(f"without {program}, which cannot run it here: {tried.stderr.strip().splitlines()[-1]}\n")
            continue
        found.append(Case(" ".join((program, "run", *options)), lambda argv=argv: timed(lambda: _two_loops(argv, trials))))
    return found


def _has_image(program: str, launch: Launch) -> bool:
    if shutil.which(program) is None or subprocess.run([program, "info"], capture_output=True, check=False).returncode != 0:
        return False
    archive = launch.home / "print.tar"
    launch.whole("save", "print", "-o", str(archive))
    loaded = subprocess.run([program, "load", "-i", str(archive)], capture_output=True, text=True, check=True).stdout
    name = loaded.strip().splitlines()[-1].partition(": ")[2]
    subprocess.run([program, "tag", name, IMAGE], check=True)
    archive.unlink()
    return True


def _two_loops(argv: Sequence[str], trials: int) -> None:
    with ThreadPoolExecutor(2) as loops:
        for done in loops.map(lambda _number: subprocess.run(argv, capture_output=True, check=False), range(trials)):
            if done.returncode != 0:
                raise SystemExit(f"`{' '.join(argv)}` exited with {done.returncode}: {done.stderr.decode()}")


def _sweep(launch: Launch, experiment: str, trials: int, *, parallel: int) -> float:
    # A sweep wants more than one value: the single trial is a choice of one.
    values = f"choice({','.join(map(str, range(trials)))})"
    return launch.whole("-m", f"experiment={experiment}", f"params.number={values}", f"sweep.parallel={parallel}")


def _project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True, exist_ok=True)
    for name, command in (("nothing", '["true"]'), ("print", '[python3, -c, "print(1)"]')):
        (directory / f"conf/experiment/{name}.yaml").write_text(EXPERIMENT.replace("COMMAND", command))
    return directory


if __name__ == "__main__":
    main()
