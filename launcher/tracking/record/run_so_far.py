"""What a run has reported so far, folded from the entries of `logged.jsonl` (`observed.py`) as MLflow's server would fold it.

A program's client asks for its run again and again (MLflow 3's before each `log_metrics`): with this the gateway answers without
asking the server. Kept is one value a name, whatever the length of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

Point = tuple[int, int, float]
"""Step, time in milliseconds, value: the greatest is the latest (mlflow, `_update_latest_metrics_if_necessary`)."""


class RunSoFar:
    """Changed by one thread at a time; read by any."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        """Each metric as it was reported last, whatever its step."""
        self.points: dict[str, Point] = {}
        """Each metric at its latest step."""
        self.params: dict[str, str] = {}
        self.tags: dict[str, tuple[str | None, int]] = {}
        """Each tag with the size that `logged.jsonl` had with it; None: deleted."""
        self.run_name: str | None = None
        self._datasets: dict[tuple[str, str], dict[str, Any]] = {}
        self._models_read: dict[str, dict[str, Any]] = {}
        self._models_made: dict[str, dict[str, Any]] = {}

    def remember(self, entry: Mapping[str, Any], end: int) -> None:
        """*end*: the size of `logged.jsonl` with this entry."""
        if "key" in entry:
            key, value = entry["key"], float(entry["value"])
            self.last[key] = value
            point = (entry["step"], entry["time"], value)
            if key not in self.points or point > self.points[key]:
                self.points[key] = point
        elif "param" in entry:
            self.params[entry["param"]] = entry["value"]
        elif "tag" in entry:
            self.tags[entry["tag"]] = (entry["value"], end)
        elif "post" in entry:
            self._remember_post(entry["post"], entry["body"], end)

    def add_datasets(self, datasets: Iterable[Any]) -> None:
        """As MLflow's API takes them; one that is logged again is the same."""
        for each in datasets:
            dataset = each.get("dataset", {})
            self._datasets[str(dataset.get("name")), str(dataset.get("digest"))] = each

    def tags_over(self, known: Mapping[str, str], size: int) -> dict[str, str]:
        """*known*, which the server had when it knew the first *size* bytes of `logged.jsonl`, and what was set since."""
        tags = dict(known)
        for key, (value, end) in list(self.tags.items()):
            if end <= size:
                continue
            if value is None:
                tags.pop(key, None)
            else:
                tags[key] = value
        return tags

    def metrics(self) -> list[dict[str, Any]]:
        """As MLflow's `RunData` has them."""
        return [
            {"key": key, "value": as_json(value), "timestamp": time_ms, "step": step}
            for key, (step, time_ms, value) in list(self.points.items())
        ]

    def inputs(self) -> dict[str, list[dict[str, Any]]]:
        """MLflow's `RunInputs`."""
        return {"dataset_inputs": list(self._datasets.values()), "model_inputs": list(self._models_read.values())}

    def outputs(self) -> dict[str, list[dict[str, Any]]]:
        """MLflow's `RunOutputs`. Its client looks there for models of a step that it logs metrics of."""
        return {"model_outputs": list(self._models_made.values())}

    def _remember_post(self, endpoint: str, body: Mapping[str, Any], end: int) -> None:
        if endpoint == "runs/delete-tag":
            self.tags[str(body.get("key"))] = (None, end)
        elif endpoint == "runs/update":
            self.run_name = body.get("run_name") or self.run_name
        elif endpoint == "runs/log-inputs":
            self.add_datasets(_documents(body.get("datasets")))
            self._models_read |= {json.dumps(each): each for each in _documents(body.get("models"))}
        elif endpoint == "runs/outputs":
            self._models_made |= {json.dumps(each): each for each in _documents(body.get("models"))}


def as_json(value: float) -> float | str:
    """A number in strict JSON; NaN and the infinities as MLflow's REST API wants them."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _documents(given: Any) -> list[dict[str, Any]]:
    """The objects of a list that came from the program: anything else the server will refuse."""
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
