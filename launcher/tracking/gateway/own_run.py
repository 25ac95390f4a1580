"""The run as its program sees it through the gateway: what it may log, and what is answered without asking MLflow.

Judges as MLflow would (mlflow/utils/validation.py), with two differences that keep a training alive: a param that the launcher
logged already is accepted and kept as a tag, and tags that are the launcher's are accepted and ignored, which is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from launcher.tracking.metrics.metric_log import MetricLog, by_id, metric
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.rest import PARAM_MAX, TAG_MAX, fitting_key, fitting_value, is_fitting_key, pairs

_NAME_MAX = 250
_INTEGER_MAX = 2**63 - 1
_POINT_OF = ("model_id", "dataset_name", "dataset_digest")

_LAUNCHERS_TAGS = ("launch.", "mlflow.source.", "mlflow.docker.", "mlflow.parentrunid", "mlflow.user", "mlflow.project.")


def is_launchers(tag: str) -> bool:
    """Whether a tag of the run is the launcher's to set."""
    return _as_databases_compare(tag).startswith(_LAUNCHERS_TAGS)


def is_below_launch(tag: str) -> bool:
    """Whether a tag is one of those that say which run is launch's, and which."""
    return _as_databases_compare(tag).startswith("launch.")


def _as_databases_compare(name: str) -> str:
    """To MySQL `LAUNCH.x`, and the same with accents or in wide letters, is the key `launch.x` (its default collation)."""
    if name.isascii():
        return name.strip().lower()
    from unicodedata import combining, normalize

    return "".join(letter for letter in normalize("NFKD", name) if not combining(letter)).strip().casefold()


class Rejected(Exception):
    """An answer that is an error: HTTP status, MLflow's error code, words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class OwnRun:
    """Turns what the program logs to its own run into entries of `logged.jsonl`."""

    def __init__(self, description: Description, log: MetricLog, *, ignored: Callable[[str], None]) -> None:
        """*ignored* is told, for whoever launched the run, of what the program said in vain."""
        self.description = description
        self.ignored = ignored
        self._log = log
        self._launchers_params = {fitting_key(key): value for key, value in description.params.items()}
        log.so_far.add_datasets(description.datasets)

    def log(self, *, metrics: Iterable[Any] = (), params: Iterable[Any] = (), tags: Iterable[Any] = ()) -> None:
        """Everything or nothing. Returns when it is written down."""
        entries = [self._metric(each) for each in metrics]
        new: dict[str, str] = {}
        for each in params:
            entries += self._param(each, new)
        for each in tags:
            entries += self._tag(each)
        self._log.add(entries)

    def rename(self, name: Any) -> None:
        if not isinstance(name, str):
            raise Rejected(400, "INVALID_PARAMETER_VALUE", "the name of a run is text")
        self.keep("runs/update", {"run_name": fitting_value(name, _NAME_MAX)})

    def keep(self, endpoint: str, body: Mapping[str, Any]) -> None:
        """A request that MLflow shall get as it is, later."""
        kept = {key: value for key, value in body.items() if key not in ("run_id", "run_uuid")}
        self._log.add([{"post": endpoint, "body": kept}])

    def keep_models(self, endpoint: str, body: Mapping[str, Any]) -> None:
        """Models, and datasets, that the run has read or made. A model that is logged again is left out."""
        so_far = self._log.so_far
        for name in ("models", "datasets"):
            given = body.get(name) or []
            if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
                raise Rejected(400, "INVALID_PARAMETER_VALUE", f"`{name}` is no list of objects")
        known = so_far.models_made if endpoint == "runs/outputs" else so_far.models_read
        if body.get("models"):
            body = {**body, "models": list(by_id(known, body["models"]).values())}
        if body.get("models") or body.get("datasets"):
            self.keep(endpoint, body)

    def as_run(self, known: Mapping[str, Any], provisional_id: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """MLflow's `Run`, from what we know ourselves; *tags* are the run's."""
        so_far = self._log.so_far
        params = {**so_far.params, **self._launchers_params}
        data = {"metrics": so_far.metrics(), "params": pairs(params), "tags": pairs(tags)}
        return {"info": self.info(known, provisional_id), "data": data, "inputs": so_far.inputs(), "outputs": so_far.outputs()}

    def info(self, known: Mapping[str, Any], provisional_id: str) -> dict[str, Any]:
        """MLflow's `RunInfo`: always RUNNING, since the launcher alone ends a run."""
        run_id = str(known.get("run_id") or provisional_id)
        experiment_id = str(known.get("experiment_id") or "0")
        return {
            "run_id": run_id,
            "run_uuid": run_id,
            "run_name": self._log.so_far.run_name or self.description.run_name,
            "experiment_id": experiment_id,
            "user_id": self.description.user,
            "status": "RUNNING",
            "start_time": self.description.start_ms,
            "artifact_uri": f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts",
            "lifecycle_stage": "active",
        }

    def tags(self, server_had: Mapping[str, str] | None, size: int, *, sent: Mapping[str, str]) -> dict[str, str]:
        """The run's tags; the server had *server_had* (None: nobody asked it) with the first *size* bytes of `logged.jsonl`, and
        got *sent* from the launcher."""
        description = self.description
        first = {**description.tags, **sent, "mlflow.runName": self._log.so_far.run_name or description.run_name}
        return self._log.so_far.tags_over(first if server_had is None else server_had, size)

    def _metric(self, given: Any) -> dict[str, Any]:
        key = _key(given, "metric")
        try:
            value = float(given["value"])
            step = int(given.get("step") or 0)
            time_ms = int(given.get("timestamp") or time.time() * 1000)
            if max(abs(step), abs(time_ms)) > _INTEGER_MAX:
                raise ValueError("not a number of 64 bits")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Rejected(400, "INVALID_PARAMETER_VALUE", f"metric `{key}` has no number as value, step or timestamp") from error
        point = metric(key, value, step=step, time_ms=time_ms)
        for name in _POINT_OF:
            if given.get(name):
                point[name] = given[name]
        return point

    def _param(self, given: Any, new: dict[str, str]) -> list[dict[str, Any]]:
        key = _key(given, "param")
        value = fitting_value(str(given.get("value", "")), PARAM_MAX)
        if key in self._launchers_params:
            # The first stays; the second is worth knowing when it differs.
            same = self._launchers_params[key] == value
            return [] if same else [{"tag": fitting_key(f"launch.logged.{key}"), "value": value}]
        before = new.get(key, self._log.so_far.params.get(key))
        if before is not None and before != value:
            raise Rejected(
                400,
                "INVALID_PARAMETER_VALUE",
                f"changing param values is not allowed: param `{key}` was already logged with value `{before}`, now `{value}`",
            )
        new[key] = value
        return [] if before == value else [{"param": key, "value": value}]

    def _tag(self, given: Any) -> list[dict[str, Any]]:
        key = _key(given, "tag")
        value = fitting_value(str(given.get("value", "")), TAG_MAX)
        if is_launchers(key):
            if self.description.tags.get(key) != value:
                self.ignored(f"tag `{key}` of the program was ignored: it is the launcher's")
            return []
        return [{"tag": key, "value": value}]


def _key(given: Any, kind: str) -> str:
    key = given.get("key") if isinstance(given, dict) else None
    if not isinstance(key, str) or not key or not is_fitting_key(key):
        raise Rejected(
            400,
            "INVALID_PARAMETER_VALUE",
            f"invalid {kind} name: `{key}`; names may have letters, digits, `_-. :/` and at most 250 characters",
        )
    return key
