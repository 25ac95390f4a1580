"""One round of a crash test: a launch, a blow at some moment of its life, the next ordinary command, and the truth afterwards.

A blow is a function of (seed, number), so that a round that found something can be struck again: `LAUNCH_TESTS_SEED=… pytest …`.
The truth is what can be known without launch's own words: the program's marks in its outputs, and init's exit record.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch_command import Launch
from server_peer import Server
from traces import traces
from waiting import eventually

from runtime.file_lock import is_locked
from runtime.network.nftables import Nftables

ROLES = ("command", "fork server", "supervisor", "tracker", "init")

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
env: {PAUSE_S: "0.05", ENDS: "[0, 0]"}
cpus: 1
memory: 256MiB
grace: 1s
"""

_SETTLED_WITHIN_S = 120.0


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

    def __str__(self) -> str:
        when = f"{self.share:.3f} of its life" if self.event is None else f"{self.share / 10:.3f} s after entry {self.event}"
        whom = f"{self.count} of {', '.join(self.order)}"
        made = "" if self.changed is None else " of changed code"
        return f"`launch {' '.join(self.words)}`{made}, kill {whom} {when}; then `launch {' '.join(self.next_command)}`"


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
    following = dice.choice([("ps",), ("sync",), ("runs",), ("-q", "experiment=crash", "tracking=none")])
    changed = number if dice.random() < 0.3 else None
    return Blow(tuple(words), order, count, dice.random(), event, following, changed)


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
    living = processes_of(found)
    for role in [role for role in blow.order if living[role]][: blow.count]:
        for pid in living[role]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                found.struck.setdefault(role, []).append(pid)
    try:
        found.out, found.err = found.process.communicate(timeout=_SETTLED_WITHIN_S)
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


def processes_of(found: Round) -> dict[str, list[int]]:
    """Role → the processes that have it now."""
    assert found.process is not None
    command = found.process.pid
    roles: dict[str, list[int]] = {"command": [command] if found.process.poll() is None else []}
    roles["fork server"] = [pid for pid in process_children(command) if b"\0serve\0" in _cmdline(pid)]
    supervisors = {child for server in roles["fork server"] for child in process_children(server)}
    if found.find_run() is not None:
        with suppress(FileNotFoundError, ValueError, KeyError):
            lock = found.run_dir / "supervisor.lock"
            if is_locked(lock):
                supervisors.add(int(json.loads(lock.read_text())["pid"]))
    roles["supervisor"] = sorted(supervisors)
    below = [child for supervisor in supervisors for child in process_children(supervisor)]
    roles["init"] = [pid for pid in below if b"launch-init" in _cmdline(pid)]
    roles["tracker"] = [pid for pid in below if pid not in roles["init"] and b"launch-" not in _cmdline(pid)]
    return roles


def process_children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def machine_traces() -> set[str]:
    """`traces`, firewall tables, and held leases."""
    found = traces()
    leases = Path(os.environ.get("LAUNCH_LEASE_DIR", "/nonexistent"))
    found |= {f"lease {file.name}" for file in leases.rglob("*") if file.is_file() and is_locked(file, also_shared=True)}
    with suppress(OSError), Nftables() as nft:
        found |= {f"nft table {table}" for table in nft.tables()}
    return found


def settle(found: Round) -> None:
    """The next ordinary command; then everything that it started may take its time to end."""
    found.launch(*found.blow.next_command)
    left: set[str] = set()

    def nothing_left() -> bool:
        nonlocal left
        left = {f"active/{name}" for name in set(os.listdir(found.launch.home / "active")) - found.known_runs}
        left = left or {trace for trace in machine_traces() - found.before if not _is_anothers(trace, found)}
        return not left

    # A look at every process of the machine is work for the machine, too.
    eventually(nothing_left, lambda: f"left behind: {sorted(left)}", within_s=_SETTLED_WITHIN_S, every_s=0.1)


def _is_anothers(trace: str, found: Round) -> bool:
    """Cgroups of whoever else uses launch on this machine meanwhile."""
    kind, _, name = trace.rpartition("/launch-")
    return kind.startswith("cgroup ") and not (found.launch.home / "runs" / name.partition(".")[0]).exists()


def untruths(found: Round, server: Server | None) -> Iterator[str]:
    """What the records say and is not so."""
    yield from _litter(found)
    run_dir = found.run_dir
    if run_dir is None or not run_dir.exists():
        if "command" not in found.struck:
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
    foreground = "-d" not in found.blow.words and "command" not in found.struck
    assert found.process is not None
    if foreground and found.process.returncode != record["exit_code"]:
        yield f"the command said {found.process.returncode}, the record {record['exit_code']}\n{found.err}"
    if "tracking=none" not in found.blow.words and server is not None:
        yield from _untrue_in_mlflow(run_dir, record, server)


def _untrue_in_mlflow(run_dir: Path, record: dict[str, Any], server: Server) -> Iterator[str]:
    if record["mlflow_run_id"] is None:
        yield "MLflow does not know the run"
        return
    known = server.run(record["mlflow_run_id"])
    said = (known.info["status"], known.tags.get("launch.reason"), known.tags.get("launch.exit_code"))
    if said != (record["status"], record["reason"], str(record["exit_code"])):
        yield f"MLflow says {said}, the record {record['status'], record['reason']}"
    if not int(known.info.get("end_time") or 0):
        yield "MLflow has no end of it"
    written = [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    steps = [step for step, _ in server.history(known.info["run_id"], "loss")] if written else []
    if steps != written:
        yield f"MLflow has the metrics of steps {steps}, the program wrote {written}"


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
