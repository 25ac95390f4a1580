"""`launch` in a subprocess, as its users type it, and a small project that needs no wheels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

# Trains nothing: prints, writes metrics and a file, and ends as it is told. The image has a base and Python, no wheels.
PROGRAM = """\
import json, os, pathlib, signal, sys, time
how = sys.argv[1]
print("hello from", os.environ["LAUNCH_RUN_ID"], flush=True)
print("on stderr", file=sys.stderr, flush=True)
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    for step in range(3):
        metrics.write(json.dumps({"step": step, "loss": 1.0 / (step + 1)}) + "\\n")
pathlib.Path(os.environ["LAUNCH_OUTPUTS"], "result.txt").write_text("42\\n")
if how == "sleep":
    time.sleep(600)
if how == "graceful":
    signal.signal(signal.SIGTERM, lambda *_: (print("saving", flush=True), sys.exit(0)))
    print("ready", flush=True)
    time.sleep(600)
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(600)
if how == "eat":
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))
if how == "env":
    print(json.dumps(dict(os.environ)))
if how.isdigit():
    sys.exit(int(how))
"""

EXPERIMENT = """\
# @package _global_
description: ends as it is told
image: {requirements: []}
code: {root: experiments/probe}
command: [python3, probe.py, "${params.how}"]
params: {how: "0", lr: 0.1}
cpus: 0.5
memory: 256MiB
grace: 2s
tracking: null
"""


def write_project(directory: Path, name: str, *, experiment: str = EXPERIMENT, program: str = PROGRAM) -> Path:
    """A project whose one experiment is *name*: its YAML, and the program `experiments/NAME/NAME.py`."""
    (directory / "conf/experiment").mkdir(parents=True)
    (directory / f"experiments/{name}").mkdir(parents=True)
    (directory / f"conf/experiment/{name}.yaml").write_text(experiment)
    (directory / f"experiments/{name}/{name}.py").write_text(program)
    return directory


@dataclass
class Launch:
    """Runs `launch` in a project directory."""

    home: Path
    project: Path
    environ: dict[str, str] = field(default_factory=dict)

    def argv(self, *arguments: str) -> list[str]:
        installed = Path(sys.executable).with_name("launch")
        head = [str(installed)] if installed.exists() else [sys.executable, "-m", "launcher.warm.client"]
        return [*head, *arguments]

    def env(self) -> dict[str, str]:
        env = {**os.environ, "LAUNCH_HOME": str(self.home), "NO_COLOR": "1", **self.environ}
        return env if Path(sys.executable).with_name("launch").exists() else {**env, "PYTHONPATH": str(REPOSITORY)}

    def __call__(self, *arguments: str, timeout_s: float = 300, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        argv = self.argv(*arguments)
        done = subprocess.run(
            argv, cwd=self.project, env=self.env(), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        return done

    def start(self, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **popen}
        return subprocess.Popen(self.argv(*arguments), cwd=self.project, env=self.env(), **popen)

    def record(self, reference: str = "@last") -> dict[str, Any]:
        return json.loads(self("runs", "show", reference, "--json").stdout)

    def runs(self) -> list[dict[str, Any]]:
        return json.loads(self("runs", "--json").stdout)
