"""One round of a crash test: a launch, a blow at some moment of its life, the next ordinary command, and the truth afterwards.

A blow is a function of (seed, number), so that a round that found something can be struck again: `LAUNCH_TESTS_SEED=… pytest …`.
The truth is what can be known without launch's own words: the program's marks in its outputs, and init's exit record.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launch_command import Launch
from mlflow_comparison import untruths_of_mlflow
from traces import own_processes, traces
from victims import COMMAND, FORK, ROLES, is_helper, kill, open_files, victims
from waiting import eventually

from runtime.file_lock import is_locked
from runtime.network.nftables import Nftables
from runtime.state_dir import StateDir

PROGRAM = """\
import json, os, pathlib, sys, time
outputs = pathlib.Path(os.environ["LAUNCH_OUTPUTS"])
(outputs / "begun").touch()
print("begun", flush=True)
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    for step in range(4):
        metrics.write(json.dumps({"step": step, "loss": 1.0 / (step + 1)}) + "\\n")
        metrics.flush()
        time.sleep(float(os.environ["PAUSE_S"]))
print("done", flush=True)
(outputs / "done").touch()
sys.exit(json.loads(os.environ["ENDS"])[int(os.environ["LAUNCH_ATTEMPT"]) - 1])
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/crash}
command: [python3, crash.py]
params: {number: 0}
env: {PAUSE_S: "0.05", ENDS: "[0, 0]"}
cpus: 1
memory: 256MiB
grace: 1s
"""

SETTLED_WITHIN_S = 60.0
"""After the next ordinary command."""
_GIVEN_UP_AFTER_S = 120.0


def make_project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True)
    (directory / "experiments/crash").mkdir(parents=True)
    (directory / "conf/experiment/crash.yaml").write_text(EXPERIMENT)
    (directory / "experiments/crash/crash.py").write_text(PROGRAM)
    return directory


@dataclass(frozen=True)
class Blow:
    """Whom to kill when, in which kind of launch, and which command comes next."""

    words: tuple[str, ...]
    order: tuple[str, ...]
    count: int
    """So many of *order* are killed, the first who live then: not everybody does at every moment."""
    share: float
    """Of the life of an undisturbed launch; or, with *event*, of the tenth of a second after it."""
    event: int | None
    """The number of the journal's entry that starts the clock; None: the start of the command does."""
    next_command: tuple[str, ...]
    changed: int | None
    """A number to write into the code, so that a layer has to be made."""
    is_warm: bool
    """Whether warm helpers are started, and do commands."""

    def __str__(self) -> str:
        when = f"{self.share:.3f} of its life" if self.event is None else f"{self.share / 10:.3f} s after entry {self.event}"
        whom = f"{self.count} of {', '.join(self.order)}"
        made = "" if self.changed is None else " of changed code"
        how = " (warm)" if self.is_warm else ""
        return f"`launch {' '.join(self.words)}`{how}{made}, kill {whom} {when}; then `launch {' '.join(self.next_command)}`"


def blow_of(seed: int, number: int, *, networks: Sequence[str], gpus: Sequence[int]) -> Blow:
    """The blow with that number: the same on every machine that has these networks and GPUs."""
    dice = random.Random(f"{seed}/{number}")
    words = ["experiment=crash", f"network={dice.choice(networks)}", f"gpus={dice.choice(gpus)}"]
    if dice.random() < 0.5:
        words.append("tracking=none")
    if dice.random() < 0.5:
        words.insert(0, "-d")
    order = tuple(dice.sample(ROLES, len(ROLES)))
    count = dice.choice([1, 1, 1, 2, 3, 4, 5])
    event = dice.randrange(12) if dice.random() < 0.5 else None
    following = dice.choice([("ps",), ("ps",), ("runs",), ("-q", "experiment=crash", "tracking=none")])
    changed = number if dice.random() < 0.3 else None
    return Blow(tuple(words), order, count, dice.random(), event, following, changed, is_warm=dice.random() < 0.5)


def as_struck(launch: Launch, blow: Blow) -> Launch:
    """The command with or without warm helpers."""
    return Launch(launch.home, launch.project, {**launch.environ, "LAUNCH_WARM": str(int(blow.is_warm))})


def change_code(launch: Launch, number: int) -> None:
    """The next launch makes a layer."""
    (launch.project / "experiments/crash/crash.py").write_text(f"{PROGRAM}# {number}\n")


@dataclass
class Round:
    """What happened in one."""

    launch: Launch
    blow: Blow
    known_runs: set[str]
    before: set[str]
    struck: dict[str, list[int]]
    process: subprocess.Popen[str] | None = None
    out: str = ""
    err: str = ""
    run_dir: Path | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether nobody was left who did the command."""
        return COMMAND in self.struck or FORK in self.struck

    def find_run(self) -> Path | None:
        if self.run_dir is None:
            new = set(os.listdir(self.launch.home / "runs")) - self.known_runs
            self.run_dir = self.launch.home / "runs" / new.pop() if new else None
        return self.run_dir


def strike(launch: Launch, blow: Blow, *, life_s: float) -> Round:
    """Launch, wait for the moment, kill."""
    runs = set(os.listdir(launch.home / "runs"))
    found = Round(launch, blow, runs, machine_traces(), {})
    if blow.changed is not None:
        change_code(launch, blow.changed)
    found.process = launch.start(*blow.words)
    began = time.monotonic()
    if blow.event is None:
        time.sleep(blow.share * life_s)
    else:
        while not _has_entry(found.find_run(), blow.event) and time.monotonic() < began + life_s:
            time.sleep(0.001)
        time.sleep(blow.share / 10)
    # Everybody is found before anybody is killed: a death changes parents.
    living = victims(launch.home, but=processes_in(found.before))
    for role in [role for role in blow.order if living[role]][: blow.count]:
        if killed := [pid for pid in living[role] if kill(pid)]:
            found.struck[role] = killed
    try:
        found.out, found.err = found.process.communicate(timeout=_GIVEN_UP_AFTER_S)
    except subprocess.TimeoutExpired:
        found.process.kill()
        found.out, found.err = found.process.communicate()
        raise AssertionError(f"the command did not end:\n{found.out}\n{found.err}") from None
    found.find_run()
    return found


def _has_entry(run_dir: Path | None, number: int) -> bool:
    with suppress(FileNotFoundError):
        return run_dir is not None and (run_dir / "journal.jsonl").read_bytes().count(b"\n") > number
    return False


def processes_in(found: set[str]) -> set[int]:
    """Their pids, but not that of a warm helper."""
    return {int(trace.split(" ")[1]) for trace in found if trace.startswith("process ") and not is_helper(trace)}


def machine_traces() -> set[str]:
    """`traces`, firewall tables, and held leases."""
    found = traces()
    leases = Path(os.environ.get("LAUNCH_LEASE_DIR", "/nonexistent"))
    found |= {f"lease {file.name}" for file in leases.rglob("*") if file.is_file() and is_locked(file, also_shared=True)}
    with suppress(OSError), Nftables() as nft:
        found |= {f"nft table {table}" for table in nft.tables()}
    return found


def settle(found: Round) -> None:
    """The next ordinary command; then everything that it started may take its time to end, but no more than a minute."""
    found.launch(*found.blow.next_command)
    deadline = time.monotonic() + SETTLED_WITHIN_S
    left: set[str] = set()

    def nothing_left() -> bool:
        nonlocal left
        left = {f"active/{name}" for name in set(os.listdir(found.launch.home / "active")) - found.known_runs}
        left = left or set(left_on_machine(found.before, found.launch.home))
        return not left

    # A look at every process of the machine is work for the machine, too.
    eventually(
        nothing_left, lambda: f"left behind: {sorted(left)}{_stories(found.launch.home)}", within_s=SETTLED_WITHIN_S, every_s=0.1
    )
    runs = [] if found.run_dir is None or not found.run_dir.exists() else [found.run_dir.name]

    def untrue() -> list[str]:
        return left_in_tmp(found.launch.home) + untruths_of_mlflow(StateDir(found.launch.home), runs)

    eventually(lambda: not untrue(), lambda: f"{untrue()}", within_s=max(1.0, deadline - time.monotonic()), every_s=0.1)


def _stories(home: Path) -> str:
    """For each run on the list of those that have not ended: its journal's end, and what those do who have its files open."""
    told = []
    for name in os.listdir(home / "active"):
        run_dir = home / "runs" / name
        with suppress(FileNotFoundError):
            told.append(f"{name}: {(run_dir / 'journal.jsonl').read_text().splitlines()[-2:]}")
        for pid, command in own_processes():
            opened = [str(path.relative_to(run_dir)) for path in open_files(pid) if path.is_relative_to(run_dir)]
            with suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                told += [f"{pid} {command}: {state} in {Path(f'/proc/{pid}/wchan').read_text()}, has {opened}"] if opened else []
    return "".join(f"\n      {each}" for each in told)


def left_on_machine(before: set[str], home: Path) -> list[str]:
    """What is there and was not before, and does not stay for the next command."""
    return sorted(each for each in machine_traces() - before if not (is_helper(each) or _is_anothers(each, home)))


def _is_anothers(trace: str, home: Path) -> bool:
    """Cgroups and links of whoever else uses launch on this machine meanwhile, and the bridge that their links hang on."""
    of_run = re.search(r"(?:/launch-|link lc-)([0-9a-f]{6})", trace)
    if of_run is not None:
        return not (home / "runs" / of_run[1]).exists()
    links = (each for each in traces() if each.startswith("link lc-"))
    return trace.endswith(" launch0") and any(_is_anothers(link, home) for link in links)


def untruths(found: Round) -> Iterator[str]:
    """What the records say and is not so."""
    yield from _litter(found)
    run_dir = found.run_dir
    if run_dir is None or not run_dir.exists():
        if not found.is_cut_off:
            yield "the command lived and there is no run"
        return
    record = found.launch.record(run_dir.name)
    begun, done = ((run_dir / "outputs" / name).exists() for name in ("begun", "done"))
    exit_line = (run_dir / "exit.json").read_bytes().partition(b"\n") if (run_dir / "exit.json").exists() else (b"", b"", b"")
    ended = json.loads(exit_line[0]) if exit_line[1] else None
    said = (record["status"], record["reason"], record["exit_code"])
    if ended is not None and not (said == ("FINISHED", "completed", 0) and ended["code"] == 0 and done):
        yield f"the program ended with {ended}, done: {done}; the record says {said}"
    if ended is None and said not in (("KILLED", "lost", 125), ("FAILED", "launcher", 125)):
        yield f"nobody saw the program end; the record says {said}"
    if begun and ended is None and "init" not in found.struck:
        yield "the program began and was ended, although nobody touched its init"
    if not begun and said[1] == "completed":
        yield "it is completed and never began"
    if said[1] in ("lost", "launcher") and not record["message"]:
        yield f"nothing is said about why it is {said[1]}"
    if said[1] == "completed" and (run_dir / "stdout.log").read_text() != "begun\ndone\n":
        yield f"its output is {(run_dir / 'stdout.log').read_text()!r}"
    if begun and record["started_at"] is None:
        yield "its program began, and its record has no start"
    foreground = "-d" not in found.blow.words and not found.is_cut_off
    assert found.process is not None
    if foreground and found.process.returncode != record["exit_code"]:
        yield f"the command said {found.process.returncode}, the record {record['exit_code']}\n{found.err}"
    if "tracking=none" not in found.blow.words and record["mlflow_run_id"] is None:
        yield "it does not know its run in MLflow"


def left_in_tmp(home: Path) -> list[str]:
    """What killed commands left where things are made."""
    try:
        return sorted(f"store/tmp/{name}" for name in set(os.listdir(home / "store/tmp")) - {".gate"})
    except FileNotFoundError:
        return []


def _litter(found: Round) -> Iterator[str]:
    """Half a run, a container's writable layer, files that were to be renamed."""
    home = found.launch.home
    for run_dir in (home / "runs").iterdir():
        if run_dir.name not in found.known_runs and not (run_dir / "journal.jsonl").exists():
            yield f"{run_dir} is half a run"
        if run_dir.name not in found.known_runs and (run_dir / "overlay").exists():
            yield f"{run_dir / 'overlay'} is left"
    for directory in ("cache", "locks", "active", "mlflow", "runs"):
        for parent, _, files in os.walk(home / directory):
            yield from (f"{parent}/{file} is left" for file in files if file.startswith(".") or file.endswith(".partial"))
