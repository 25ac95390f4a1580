"""A build in a job: on a node it builds the image of a plan that another machine has written down, into the store that both see.

Its BuildObserver writes each call as a line of a file; the command reads that file and calls its own observer:

{"event": "built", "step": 3, "layers": [...], "seconds": 1.5}
{"event": "finished", "image_digest": "sha256:…"}
{"event": "failed", "error": "BuildError", "message": "…", "hint": null}
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, LaunchError
from launcher.journal.growing_file import GrowingFile
from launcher.plan.image_plan import sources
from launcher.plan.images.recipe import attach_recipe
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import from_document
from runtime.build.builder import build
from runtime.build.observer import BuildObserver
from runtime.build.plan import BuildPlan, Step
from runtime.errors import BuildError, RuntimeFailure
from runtime.state_dir import StateDir
from runtime.store.records import Layer, layer_rows, layers_from_rows
from runtime.store.scratch import make_place
from runtime.store.store import Store

PLAN = "plan.json"
EVENTS = "events.jsonl"
LOG = "job.log"

_DOWNLOAD_EVERY_S = 0.5


def main(directory: Path, home: Path) -> int:
    """Build what the plan in *directory* says, for LAUNCH_HOME *home*. A failure is the last event; a bug is in the log."""
    plan = from_document(json.loads((directory / PLAN).read_bytes()))
    events = EventWriter(directory / EVENTS, plan.build)
    try:
        image_digest = _build(plan, StateDir(home), events)
    except (LaunchError, RuntimeFailure) as error:
        events.write("failed", error=type(error).__name__, message=error.message, hint=error.hint)
        return 1
    events.write("finished", image_digest=image_digest)
    return 0


def _build(plan: LaunchPlan, state: StateDir, events: EventWriter) -> str:
    if plan.spec.cluster.scratch is not None:
        # Where a shared store has no room for containers.
        os.environ["TMPDIR"] = str(make_place(plan.spec.cluster.scratch, os.environ))
        os.environ.pop("SLURM_TMPDIR", None)
    store = Store(state.store)
    result = build(plan.build, store, sources=sources(plan, state=state, environ=os.environ), observer=events)
    store.name_image(result.image, plan.spec.name)
    attach_recipe(result.image, store, build=plan.build, plan=plan)
    store.confirm()
    return result.image.digest


class EventWriter:
    """The BuildObserver of the job. Called from several threads."""

    def __init__(self, path: Path, plan: BuildPlan) -> None:
        self._path = path
        self._numbers = {step: number for number, step in enumerate(plan.all_steps)}
        self._lock = threading.Lock()
        self._downloads: dict[str, float] = {}
        """What is downloaded → when that was written last."""

    def write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}) + "\n"
        with self._lock, open(self._path, "ab") as file:
            file.write(line.encode())

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        self.write("cached", step=self._numbers[step], layers=layer_rows(layers))

    def step_started(self, step: Step) -> None:
        self.write("started", step=self._numbers[step])

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        self.write("built", step=self._numbers[step], layers=layer_rows(layers), seconds=seconds)

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        now = time.monotonic()
        is_done = total_bytes is not None and done_bytes >= total_bytes
        if is_done or now - self._downloads.get(label, 0.0) >= _DOWNLOAD_EVERY_S:
            self._downloads[label] = now
            self.write("download", label=label, done=done_bytes, total=total_bytes)

    def message(self, text: str) -> None:
        self.write("message", text=text)

    def output(self, step: Step, line: str) -> None:
        self.write("output", step=self._numbers[step], line=line)


class EventReader:
    """Reads the file as it grows, on the machine of the command."""

    def __init__(self, path: Path, plan: BuildPlan) -> None:
        self._file = GrowingFile(path)
        self._steps = plan.all_steps

    def replay(self, observer: BuildObserver) -> bool:
        """Tell *observer* what is new. Whether the build has finished; raises ConfigError or BuildError when it has failed."""
        for line in self._file.new_lines():
            event = json.loads(line)
            match event["event"]:
                case "cached":
                    observer.step_cached(self._steps[event["step"]], layers_from_rows(event["layers"]))
                case "started":
                    observer.step_started(self._steps[event["step"]])
                case "built":
                    observer.step_built(self._steps[event["step"]], layers_from_rows(event["layers"]), event["seconds"])
                case "download":
                    observer.download(event["label"], event["done"], event["total"])
                case "message":
                    observer.message(event["text"])
                case "output":
                    observer.output(self._steps[event["step"]], event["line"])
                case "finished":
                    return True
                case "failed":
                    error = ConfigError if event["error"] == ConfigError.__name__ else BuildError
                    raise error(event["message"], hint=event["hint"])
        return False
