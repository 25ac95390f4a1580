"""`launch hydra-jobs`: one JSON line a batch of jobs on stdin, one answer on stdout.

    → {"settings": {protocol, overrides, program, python, nodes, parallel, name, command_line}, "jobs": [JOB, …]}
    ← {"jobs": [{run_id, outputs, status, value, …}, …]}, {"interrupted": true} or {"error": "…"}
    → {"jobs": [JOB, …]} …

A JOB is {overrides, arguments, params}, and `pickle` or `no_pickle` of a task that has no name. All batches are one sweep: one
image, one parent run, which is closed when stdin ends. The other side is `hydra_plugins.launch_launcher`, in the environment of
the Hydra program and perhaps older than this; progress goes to stderr, as with any sweep.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from launcher.cli.hydra_program import JobRequest, JobSettings
from launcher.errors import ConfigError, LaunchError
from runtime.errors import RuntimeFailure

PROTOCOL = 1


def serve_hydra_jobs() -> int:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints, prints for the person
    first = sys.stdin.readline()
    if not first:
        return 0
    try:
        return _serve(json.loads(first), answers)
    except (LaunchError, RuntimeFailure) as error:
        _answer(answers, {"error": _words(error)})
        return error.exit_code if isinstance(error, LaunchError) else 125
    except KeyboardInterrupt:
        return 130


def _serve(first: Mapping[str, Any], answers: Any) -> int:
    from launcher.cli.hydra_sweep import hydra_sweep

    settings = dict(first["settings"])
    _refuse_other_protocol(settings.pop("protocol", None))
    with hydra_sweep(JobSettings.from_json(settings)) as sweep:
        request: Mapping[str, Any] | None = first
        while request is not None:
            _answer(answers, sweep.run([JobRequest.from_json(job) for job in request["jobs"]]))
            line = sys.stdin.readline()
            request = json.loads(line) if line else None
    return 0


def _refuse_other_protocol(theirs: object) -> None:
    if theirs != PROTOCOL:
        message = f"this launch speaks protocol {PROTOCOL} with Hydra's launcher `launch`, which speaks {theirs} here"
        raise ConfigError(message, hint="bring `hydra-launch-launcher` of the program's environment and launch to one version")


def _answer(answers: Any, answer: Mapping[str, Any]) -> None:
    try:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    except BrokenPipeError:
        return  # the program is gone; what its jobs did is recorded


def _words(error: LaunchError | RuntimeFailure) -> str:
    """As `launch` prints it."""
    origin = getattr(error, "origin", None)
    lines = [f"error: {error.message}", *([f"  --> {origin}"] if origin is not None else [])]
    lines += [f"  {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join([*lines, *(["", f"hint: {error.hint}"] if error.hint else [])])
