"""What a build in a job tells about itself, as lines of a file that the command reads: the same observer on both sides.

{"event": "built", "step": 3, "layers": [...], "seconds": 1.5}
{"event": "finished", "image_digest": "sha256:…"}
{"event": "failed", "error": "BuildError", "message": "…", "hint": null}
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.build.observer import BuildObserver
from runtime.build.plan import BuildPlan, Step
from runtime.oci.digest import Digest
from runtime.store.records import Layer

_DOWNLOAD_EVERY_S = 0.5


def steps_of(plan: BuildPlan) -> list[Step]:
    """Every step of *plan*: its number in this list is its name in an event."""
    return [step for stage in (*plan.stages, plan.steps) for step in stage]


class EventWriter:
    """The BuildObserver of the job. Called from several threads."""

    def __init__(self, path: Path, plan: BuildPlan) -> None:
        self._path = path
        self._numbers = {step: number for number, step in enumerate(steps_of(plan))}
        self._lock = threading.Lock()
        self._told_of_download: dict[str, float] = {}

    def write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}) + "\n"
        with self._lock, open(self._path, "ab") as file:
            file.write(line.encode())

    def step_cached(self, step: Step, layers: tuple[Layer, ...]) -> None:
        self.write("cached", step=self._numbers[step], layers=_documents(layers))

    def step_started(self, step: Step) -> None:
        self.write("started", step=self._numbers[step])

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        self.write("built", step=self._numbers[step], layers=_documents(layers), seconds=seconds)

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        now = time.monotonic()
        is_done = total_bytes is not None and done_bytes >= total_bytes
        if is_done or now - self._told_of_download.get(label, 0.0) >= _DOWNLOAD_EVERY_S:
            self._told_of_download[label] = now
            self.write("download", label=label, done=done_bytes, total=total_bytes)

    def message(self, text: str) -> None:
        self.write("message", text=text)

    def output(self, step: Step, line: str) -> None:
        self.write("output", step=self._numbers[step], line=line)


class EventReader:
    """Reads the file as it grows. Opened anew each time: that is when an NFS client asks the server what is there (nfs(5))."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> Iterator[dict[str, Any]]:
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from map(json.loads, whole.splitlines())


def replay(event: dict[str, Any], steps: list[Step], observer: BuildObserver) -> None:
    """Tell *observer* what the job's was told."""
    match event["event"]:
        case "cached":
            observer.step_cached(steps[event["step"]], _layers(event["layers"]))
        case "started":
            observer.step_started(steps[event["step"]])
        case "built":
            observer.step_built(steps[event["step"]], _layers(event["layers"]), event["seconds"])
        case "download":
            observer.download(event["label"], event["done"], event["total"])
        case "message":
            observer.message(event["text"])
        case "output":
            observer.output(steps[event["step"]], event["line"])


def _documents(layers: tuple[Layer, ...]) -> list[list[Any]]:
    return [[layer.diff_id, layer.key, layer.size_bytes, layer.label] for layer in layers]


def _layers(documents: list[list[Any]]) -> tuple[Layer, ...]:
    return tuple(Layer(Digest(diff_id), Digest(key), size, label) for diff_id, key, size, label in documents)
