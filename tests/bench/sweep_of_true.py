"""What one trial of a sweep costs beside its program, and how many a second there are beside containers that record nothing.

    python tests/bench/sweep_of_true.py              # both
    python tests/bench/sweep_of_true.py --trials 50  # shorter

Alone: a sweep of one trial and a sweep of many take turns; the difference, divided by the additional trials, is one trial's
directory, journal, container, cgroup, MLflow run. Two at a time: `sweep.parallel=2` beside two loops of `docker run` and of
`podman run --network none` of the same image and program. Docker needs a daemon that answers (DOCKER_HOST names it); podman gets
runc on a machine with both cgroup versions mounted, where crun refuses to start. Who cannot run is told, with the reason.
At last what MLflow's database and server have grown by.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
HYBRID = Path("/sys/fs/cgroup/unified")


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
    before = [_Tracked.of(launch) for launch in measured]
    peers = _peers(measured[0], trials)
    ours = launches.cases(measured, "launch -m, recorded in MLflow", lambda launch: _sweep(launch, "print", trials, parallel=2))
    count = max(1, rounds // 2)
    measure(f"{trials} times `python3 -c 'print(1)'`, two at a time", [*peers, *ours], rounds=count, warmups=0)
    rates = {case.name: trials / sorted(case.seconds)[len(case.seconds) // 2] for case in (*peers, *ours)}
    theirs = {case.name for case in peers}
    for name, rate in rates.items():
        beside = [f"{rate / rates[case.name]:.1f} times `{case.name}`" for case in peers if name not in theirs]
        print(f"{name}: {rate:.1f} a second" + (f" ({', '.join(beside)})" if beside else ""))
    for launch, earlier in zip(measured, before, strict=True):
        now = _Tracked.of(launch)
        each_kib = (now.database_bytes - earlier.database_bytes) / (count * trials) / 1024
        grown = f"mlflow.db grew by {each_kib:.1f} KiB a trial, its server has {now.server_mib:.0f} MiB"
        print(f"{shlex.join(launch.command)}: {grown}")
    print()


@dataclass(frozen=True, slots=True)
class _Tracked:
    """What tracking holds of the machine."""

    database_bytes: int
    server_mib: float

    @classmethod
    def of(cls, launch: Launch) -> _Tracked:
        home = launch.home / "mlflow"
        try:
            pid = json.loads((home / "server.json").read_text())["pid"]
            status = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            status = ""
        resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
        found = sum(file.stat().st_size for file in home.glob("mlflow.db*"))
        return cls(found, int(resident) / 1024)


def _peers(launch: Launch, trials: int) -> list[Case]:
    """Those that are here and can run our image."""
    found = []
    runc = ("--runtime", "runc") if HYBRID.exists() else ()
    for engine, options in ((("docker",), ()), (("podman", *runc), ("--network", "none"))):
        argv = [*engine, "run", "--rm", *options, IMAGE, *PROGRAM]
        refusal = _refusal(engine[0], launch) or _last_words(argv)
        if refusal is not None:
            print(f"without {engine[0]}: {refusal}\n")
            continue
        found.append(Case(" ".join((engine[0], "run", *options)), lambda argv=argv: timed(lambda: _two_loops(argv, trials))))
    return found


def _refusal(program: str, launch: Launch) -> str | None:
    """Why *program* cannot have the image; None when it has it now."""
    if shutil.which(program) is None:
        return "it is not installed"
    if (refusal := _last_words([program, "info"])) is not None:
        return refusal
    archive = launch.home / "print.tar"
    launch.whole("save", "print", "-o", str(archive))
    loaded = subprocess.run([program, "load", "-i", str(archive)], capture_output=True, text=True, check=True).stdout
    name = loaded.strip().splitlines()[-1].partition(": ")[2]
    subprocess.run([program, "tag", name, IMAGE], check=True)
    archive.unlink()
    return None


def _last_words(argv: Sequence[str]) -> str | None:
    """Of a command that fails."""
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = (tried.stderr or tried.stdout).strip().splitlines()
    return None if tried.returncode == 0 else f"`{' '.join(argv[:2])}`: {said[-1] if said else tried.returncode}"


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
