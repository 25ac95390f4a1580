"""One round of a crash test on a command that is no launch: begun, struck at some moment, followed by `launch ps`, looked at.

Who is struck is whoever the command has brought into being by then: itself, its workers, supervisors, trackers, containers,
programs; now and then MLflow's server, too. What must hold afterwards is the same for all commands (`settle_and_look`).
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from crash_rounds import SETTLED_WITHIN_S, change_code, left_in_tmp, left_on_machine, machine_traces, processes_in
from launch_command import Launch
from mlflow_comparison import untruths_of_mlflow
from terminal_session import TerminalSession
from victims import SERVER, kill, victims
from waiting import eventually

from launcher.sweep.trial_log import Verdict, read_trials
from launcher.tracking.mlflow import local_server
from launcher.tracking.sync import delete_in_mlflow, lock_path
from runtime.file_lock import locked
from runtime.state_dir import RunDir, StateDir

KINDS = ("push", "pull", "verify", "gc", "rerun", "sync", "shell", "exec", "sweep", "resume")

TRIALS = 3
SWEEP = ("experiment=crash", f"params.number={','.join(map(str, range(TRIALS)))}", "sweep.parallel=2")

_GIVEN_UP_AFTER_S = 120.0


@dataclass(frozen=True)
class CommandBlow:
    """Which command, at which share of its undisturbed life, and how many are killed."""

    kind: str
    share: float
    count: int
    also_server: bool
    is_warm: bool
    dice: random.Random = field(compare=False)

    def __str__(self) -> str:
        who = "whoever is there, MLflow's server too," if self.also_server else "whoever is there"
        how = " (warm)" if self.is_warm else ""
        return f"`launch {self.kind}`{how}, kill {self.count} of {who} at {self.share:.3f} of its life; then `launch ps`"


def command_blow(seed: int, number: int) -> CommandBlow:
    """The blow with that number: kinds in turn, the rest by chance."""
    dice = random.Random(f"{seed}/command/{number}")
    kind, share, count = KINDS[number % len(KINDS)], dice.random(), dice.choice([1, 1, 2, 3, 9])
    return CommandBlow(kind, share, count, dice.random() < 0.15, dice.random() < 0.5, dice)


@dataclass
class CommandRounds:
    """Commands to strike, in the project of `crash_rounds`, whose image is in the registry at *registry* as `crash:base`."""

    launch: Launch
    registry: str
    bystander: str
    """A run that goes on all the time: `exec` goes into it, and its image stays."""
    elsewhere: Path
    """Where `pull` has LAUNCH_HOMEs of its own: here there is nothing left to pull."""
    recorded: str
    """A tracked run that has ended."""
    struck: list[str] = field(default_factory=list)
    """Roles of who was killed last."""
    sweep: str | None = None
    """The last one that was begun."""
    _lives: dict[str, float] = field(default_factory=dict)
    _number: int = 0

    def play(self, blow: CommandBlow) -> list[str]:
        """Strike, and say what is not as it should be."""
        self.launch.environ["LAUNCH_WARM"] = str(int(blow.is_warm))
        life_s = self._lives.get(blow.kind) or self._undisturbed_life(blow.kind)
        before = machine_traces()
        self._prepare(blow.kind)
        home = self._launch(blow.kind).home
        known_runs = _runs_in(home)
        with ExitStack() as opened:
            process = self._start(blow.kind, opened)
            time.sleep(blow.share * life_s)
            self.struck = self._strike(blow, before)
            try:
                process.wait(timeout=_GIVEN_UP_AFTER_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return ["the command did not end"]
        return list(self._settle_and_look(blow.kind, before, known_runs))

    def _undisturbed_life(self, kind: str) -> float:
        self._prepare(kind)
        began = time.monotonic()
        with ExitStack() as opened:
            process = self._start(kind, opened)
            assert 0 == process.wait(timeout=_GIVEN_UP_AFTER_S), kind
        self._lives[kind] = time.monotonic() - began
        return self._lives[kind]

    def _launch(self, kind: str) -> Launch:
        if kind != "pull":
            return self.launch
        return Launch(self.elsewhere / str(self._number), self.launch.project, self.launch.environ)

    def _prepare(self, kind: str) -> None:
        """Something to do for it."""
        self._number += 1
        if kind == "gc":
            change_code(self.launch, self._number)
            self.launch("build", "experiment=crash")
            change_code(self.launch, -1)
            self.launch("build", "experiment=crash")
        if kind == "resume":
            self.sweep = self.launch("-d", "-m", *SWEEP).stdout.strip()
            for pid in victims(self.launch.home)["sweep"]:
                kill(pid)
        if kind == "sync":
            self._have_mlflow_miss(StateDir(self.launch.home).run(self.recorded))

    def _have_mlflow_miss(self, run_dir: RunDir) -> None:
        """As if the server had been away all the time."""
        local_server.ui(run_dir.state)
        with locked(lock_path(run_dir)):  # a sender of the round before writes down what it knows
            delete_in_mlflow(run_dir)
            for file in (run_dir.mlflow, run_dir.tracker_state):
                file.unlink(missing_ok=True)
            run_dir.state.unsent.add(run_dir)

    def _start(self, kind: str, opened: ExitStack) -> subprocess.Popen[str] | subprocess.Popen[bytes]:
        words = {
            "push": ("push", "crash", f"{self.registry}/crash:{self._number}"),
            "pull": ("pull", f"{self.registry}/crash:base"),
            "verify": ("verify", "verified"),
            "gc": ("gc", "--all", "--keep-days", "0"),
            "rerun": ("rerun", self.recorded),
            "sync": ("sync",),
            "sweep": ("-m", *SWEEP),
            "resume": ("resume", str(self.sweep)),
            "shell": ("shell", "experiment=crash", "--", "sleep", "0.5"),
            "exec": ("exec", self.bystander, "--", "sh", "-c", "sleep 0.3; echo $$"),
        }[kind]
        if kind == "shell":
            return opened.enter_context(TerminalSession(self.launch, *words)).process
        process = self._launch(kind).start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return opened.enter_context(process)

    def _strike(self, blow: CommandBlow, before: set[str]) -> list[str]:
        """Everybody is found before anybody is killed: a death changes parents. Returns the roles of who was."""
        there = victims(self.launch.home, but=processes_in(before))
        servers = there.pop(SERVER)
        living = [(role, pid) for role, pids in there.items() for pid in pids]
        struck = blow.dice.sample(living, min(blow.count, len(living)))
        struck += [(SERVER, pid) for pid in servers if blow.also_server]
        return [role for role, pid in struck if kill(pid)]

    def _settle_and_look(self, kind: str, before: set[str], known_runs: set[str]) -> Iterator[str]:
        launch = self._launch(kind)
        for run in json.loads(launch("ps", "--json").stdout):
            if run["run_id"].startswith("dev-"):  # a shell's container waits for somebody to come back
                launch("kill", run["run_id"])
        deadline = time.monotonic() + SETTLED_WITHIN_S
        yield from _never(lambda: left_on_machine(before, launch.home), "left behind", deadline)
        yield from _never(lambda: left_in_tmp(launch.home), "in store/tmp", deadline)
        new = _runs_in(launch.home) - known_runs
        if kind == "sweep":
            self.sweep = next((name for name in new if (launch.home / "runs" / name / "sweep.json").exists()), None)
        touched = new | ({self.sweep} if kind == "resume" and self.sweep else {self.recorded} if kind != "pull" else set())
        yield from _never(lambda: untruths_of_mlflow(StateDir(launch.home), touched), "untrue in MLflow", deadline)
        again = self._again(kind)
        if again is not None and again.returncode != 0:
            yield f"the command does not work any more: {again.stderr[-600:]}"
        if kind in ("sweep", "resume") and self.sweep is not None:
            yield from self._untruths_of_resumed(self.sweep)
        if "RUNNING" != self.launch.record(self.bystander)["status"]:
            yield "the run that nobody touched has ended"

    def _untruths_of_resumed(self, sweep: str) -> Iterator[str]:
        """Each trial is decided once, and MLflow has the sweep with all that tried."""
        state = StateDir(self.launch.home)
        trials = read_trials(state.run(sweep).trials)
        final = {
            number: [each.verdict for each in trial.tries if each.verdict and each.verdict.is_final]
            for number, trial in trials.items()
        }
        if {number: [Verdict.COMPLETE] for number in range(1, TRIALS + 1)} != final:
            yield f"trials were decided {final}"
        runs = [sweep, *(each.run_id for trial in trials.values() for each in trial.tries)]
        deadline = time.monotonic() + SETTLED_WITHIN_S
        yield from _never(lambda: untruths_of_mlflow(state, runs), "untrue in MLflow after `resume`", deadline)

    def _again(self, kind: str) -> subprocess.CompletedProcess[str] | None:
        words = {
            "push": ("push", "crash", f"{self.registry}/crash:{self._number}"),
            "pull": ("pull", f"{self.registry}/crash:base"),
            "gc": ("gc",),
            "rerun": ("rerun", self.recorded),
            "sync": ("sync",),
            "sweep": ("resume", self.sweep) if self.sweep else None,
            "resume": ("resume", self.sweep),
            "exec": ("exec", self.bystander, "--", "true"),
        }.get(kind)
        return None if words is None else self._launch(kind)(*words, check=None)


def _runs_in(home: Path) -> set[str]:
    return {path.name for path in (home / "runs").glob("*")}


def _never(look: Callable[[], list[str]], what: str, deadline: float) -> Iterator[str]:
    """What *look* still finds at the *deadline*."""
    with suppress(AssertionError):
        eventually(lambda: not look(), within_s=max(1.0, deadline - time.monotonic()), every_s=0.1)
        return
    yield f"{what}: {look()}"
