"""What ten thousand trials leave: memory of a sweep's processes over time, bytes a trial, and how soon so many runs are listed.

    python tests/bench/many_trials.py                        # 10,000 trials of `true`, nothing recorded in MLflow: six minutes
    python tests/bench/many_trials.py --mlflow --trials 2000 # recorded: MLflow's server and database, too
    python tests/bench/many_trials.py --trials 0             # only the lists, of what earlier calls have left

The sweep runs with `-d`; its process, its fork server and MLflow's server are looked at every few seconds. The lists are timed
afterwards, the second look: the first one writes the index.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import launches
from launches import Launch
from paired import machine, measure, parser

from launcher.run.start.supervisor_link import open_supervisor
from runtime.state_dir import StateDir

EXPERIMENT = """\
# @package _global_
description: Nothing, many times
command: "true"
params: {number: 0}
cpus: 0.5
memory: 64MiB
"""

_LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the processes."""

    trials: int
    memory_kib: dict[str, int]


def main() -> None:
    options = parser(__doc__, rounds=5)
    launches.add_options(options)
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--mlflow", action="store_true", help="record the trials in MLflow")
    chosen = options.parse_args()
    launch = launches.launches(chosen)[0]
    launch = replace(launch, home=launch.home / "many", project=_project(chosen.home / "many", recorded=chosen.mlflow))
    if chosen.trials:
        launch.whole("build", "experiment=nothing")
        _sweep(launch, chosen.trials)
    _lists(launch, chosen.rounds)


def _sweep(launch: Launch, trials: int) -> None:
    state = StateDir(launch.home)
    before, database_before = _disk_bytes(state.runs), _database_bytes(state)
    begun = time.perf_counter()
    sweep = launch.output("-d", "-m", "experiment=nothing", f"params.number=range(0,{trials})").strip()
    looks = list(_looks(state, sweep, trials))
    seconds = time.perf_counter() - begun
    print(f"### A sweep of {trials} trials of `true`\n\n{machine()}\n\n{trials / seconds:.1f} trials a second\n")
    names = list(looks[-1].memory_kib)
    print(f"| trials | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for look in looks[:: max(1, len(looks) // 8)]:
        print(f"| {look.trials} | {' | '.join(f'{look.memory_kib.get(name, 0) / 1024:.1f} MiB' for name in names)} |")
    files = (_disk_bytes(state.runs) - before) / trials / 1024
    database = (_database_bytes(state) - database_before) / trials / 1024
    print(f"\na trial: {files:.1f} KiB of files, {database:.1f} KiB of MLflow's database\n", flush=True)


def _looks(state: StateDir, sweep: str, trials: int) -> Iterator[Look]:
    run_dir = state.run(sweep)
    while (pidfd := open_supervisor(run_dir)) is not None:
        os.close(pidfd)
        ended = sum(b'"ended"' in line for line in run_dir.trials.read_bytes().splitlines()) if run_dir.trials.exists() else 0
        yield Look(ended, _memory(state, run_dir.supervisor_lock))
        time.sleep(_LOOK_EVERY_S if trials > 100 else 0.2)


def _memory(state: StateDir, lock: Path) -> dict[str, int]:
    """Resident KiB of the sweep's process, of the fork server of its command, and of MLflow's server."""
    sweep = int(json.loads(lock.read_text())["pid"])
    found = {"sweep": _rss_kib(sweep)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"launcher.tracking.mlflow.server_main" in words and os.fsencode(state.root) in words:
            found["MLflow's server"] = _rss_kib(int(pid))
        if words[-2:-1] == [b"serve"] and _speaks_with(int(pid), sweep):
            found["fork server"] = _rss_kib(int(pid))
    return found


def _speaks_with(server: int, sweep: int) -> bool:
    """Whether the fork server is older than the sweep's process by less than a minute: nobody else starts sweeps meanwhile."""
    started = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) for pid in (server, sweep)]
    return 0 <= started[1] - started[0] < 60 * os.sysconf("SC_CLK_TCK")


def _rss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _disk_bytes(directory: Path) -> int:
    """As du(1) counts: blocks, a file with several names once."""
    seen: dict[int, int] = {}
    for place, _names, files in os.walk(directory):
        for path in (place, *(os.path.join(place, name) for name in files)):
            status = os.lstat(path)
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def _database_bytes(state: StateDir) -> int:
    return sum(path.stat().st_size for path in state.mlflow.glob("*.db*"))


def _lists(launch: Launch, rounds: int) -> None:
    launch.output("runs")
    commands = {
        "launch runs": ("runs",),
        "launch runs --where … --sort …": ("runs", "--where", "params.number < 100", "--sort", "duration desc"),
        "launch runs show @last": ("runs", "show", "@last"),
        "launch sweep show @last": ("sweep", "show", "@last"),
        "completion": ("completion", "words", "--", "logs", ""),
    }
    count = len(os.listdir(launch.home / "runs"))
    cases = [case for name, words in commands.items() for case in launches.cases([launch], name, _whole(words))]
    measure(f"Lists of {count} runs", cases, rounds=rounds)


def _whole(words: tuple[str, ...]) -> Callable[[Launch], float]:
    return lambda launch: launch.whole(*words)


def _project(directory: Path, *, recorded: bool) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "conf/experiment").mkdir(parents=True)
    text = EXPERIMENT if recorded else f"{EXPERIMENT}tracking: null\n"
    (directory / "conf/experiment/nothing.yaml").write_text(text)
    return directory


if __name__ == "__main__":
    main()
