"""A run that counts, and says everywhere which attempt it is; seen through its directory and Slurm."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from launch_command import EXPERIMENT, write_project
from waiting import eventually

WITHIN_S = 60.0

# Counts on from its checkpoint, ten times a second, and says everywhere which attempt it is.
PROGRAM = """\
import json, os, pathlib, signal, subprocess, sys, time
how, attempt = sys.argv[1], int(os.environ["LAUNCH_ATTEMPT"])
state, enough = pathlib.Path("/checkpoints/state"), pathlib.Path("/checkpoints/enough")
step = int(state.read_text()) if state.exists() else 0

def save(*_):
    pathlib.Path("/checkpoints/saved").write_text(f"{attempt} {step}")
    print("saving", flush=True)
    if how != "stubborn":
        sys.exit(0)

signal.signal(signal.SIGTERM, save)
if how == "stubborn":
    subprocess.Popen(["sleep", "4321"], start_new_session=True)
print(f"attempt {attempt} begins at {step}", flush=True)
with open(os.environ["LAUNCH_METRICS"], "a") as metrics, open("/outputs/steps.txt", "a") as steps:
    while not enough.exists():
        step += 1
        for file, line in (
            (metrics, json.dumps({"step": step, "attempt": attempt})),
            (steps, f"attempt {attempt} step {step}"),
            (sys.stdout, f"attempt {attempt} step {step}"),
        ):
            print(line, file=file, flush=True)
        pathlib.Path("/checkpoints/partial").write_text(str(step))
        os.rename("/checkpoints/partial", state)
        time.sleep(0.1)
"""


def write_counting_project(directory):
    experiment = EXPERIMENT.replace("probe", "counting").replace('how: "0"', "how: count")
    return write_project(directory, "counting", experiment=experiment, program=PROGRAM)


class CountingRun:
    """A run on the bed, seen through its directory and Slurm."""

    def __init__(self, launch, slurm, *overrides):
        self.launch, self.slurm = launch, slurm
        self.id = launch("experiment=counting", "cluster=slurm", "-d", "-q", *overrides).stdout.strip()
        self.directory = launch.home / "runs" / self.id

    @property
    def job(self):
        return [event["job"] for event in self.lines("submitted")][-1]

    def lines(self, name):
        events = map(json.loads, (self.directory / "journal.jsonl").read_text().splitlines())
        return [event for event in events if event["event"] == name]

    def record(self):
        return self.launch.record(self.id)

    def steps(self, attempt, file="stdout.log"):
        found = re.findall(rf"attempt {attempt} step (\d+)", (self.directory / file).read_text())
        return [int(step) for step in found]

    def counts(self, attempt):
        eventually(lambda: len(self.steps(attempt)) > 5, lambda: f"steps of attempt {attempt}\n{self.story()}")

    def story(self):
        """For who wants to know why something has not happened."""
        files = (self.directory / name for name in ("journal.jsonl", "supervisor.log"))
        return "\n".join(
            [*(file.read_text() for file in files if file.exists()), self.slurm.ask("squeue"), self.slurm.ask("sinfo", "-N")]
        )

    def squeue(self, field):
        """What squeue says of it."""
        return self.slurm.ask("squeue", "--noheader", f"--jobs={self.job}", f"--format={field}").strip()

    def begin_again_now(self):
        """Slurm keeps a requeued job back for two minutes. Not at once: a node refuses what begins within the second in which
        the credential of the earlier start was revoked ("Killing non-startable batch job")."""
        eventually(lambda: self.squeue("%T") == "PENDING", "the job to be pending again")
        self.slurm.ask("scontrol", "update", f"JobId={self.job}", "StartTime=now+2")

    def lose_node(self):
        """Its node is gone for Slurm, and lives. Returns its name."""
        node = self.squeue("%N")
        self.slurm.kill_daemon(node)
        # Drained, too: a registration that was on its way would bring it back, and the job to nobody.
        self.slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        self.slurm.fail(node)
        self.begin_again_now()
        return node

    def processes(self):
        """The supervisor of the copy that runs now, and its container's init."""
        return self.lines("placed")[-1]["pid"], self.lines("started")[-1]["init_pid"]

    def finish(self):
        (self.directory / "checkpoints/enough").touch()
        assert 0 == self.launch("wait", self.id, timeout_s=60).returncode


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def descendants(pid):
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in descendants(child))]


def one_history(run):
    """Every step of the first attempt stands before those of the second, which goes on from a checkpoint of the first; the same
    in all places that the program writes to."""
    logged = [json.loads(line) for line in (run.directory / "logged.jsonl").read_text().splitlines()]
    attempts = [int(entry["value"]) for entry in logged if entry.get("key") == "attempt"]
    assert attempts == sorted(attempts), "metrics of two attempts are mixed"
    metrics = {attempt: [entry["step"] for entry in logged if entry["value"] == attempt] for attempt in set(attempts)}
    for file in ("stdout.log", "outputs/steps.txt"):
        text = (run.directory / file).read_text()
        order = [int(number) for number in re.findall(r"^attempt (\d+) step", text, re.M)]
        assert order == sorted(order), f"two attempts are mixed in {file}"
        last = max(metrics)
        assert run.steps(last, file) == metrics[last], f"{file} and the metrics differ"
    for attempt, steps in metrics.items():
        assert not [step for step, count in Counter(steps).items() if count > 1], f"attempt {attempt} counts a step twice"
        assert steps == [*range(steps[0], steps[0] + len(steps))], f"attempt {attempt} has a gap"
