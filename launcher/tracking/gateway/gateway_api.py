"""The part of MLflow's REST API that a program may use, and how far: its own run, and runs and models that it made itself.

What it logs to its own run is written down and answered at once (`own_run.py`); the tracker sends it on. Everything else goes
to the server as it is, after what was logged before. Experiments are answered here: whatever name a program sets, it is in the
experiment that the launcher chose. The list of endpoints is what MLflow's client uses; the rest is refused.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from launcher.errors import LaunchError
from launcher.journal.status import RunStatus
from launcher.tracking.gateway.own_run import OwnRun, Rejected, is_below_launch, is_launchers
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.rest import API, Mlflow
from launcher.tracking.mlflow.sink import Sink

Forward = Callable[[str, str, bytes], tuple[int, bytes]]
"""Send (method, path, body) to the server; returns status and content."""

_FLUSH_PATIENCE_S = 5.0
_PARENT = "mlflow.parentRunId"

# Spelled out to the end: a proxy before the server might resolve a `..` that we would pass on.
_MODEL_PATH = re.compile(r"logged-models/([\w-]+)(/params|/tags|/tags/[\w-](?:[\w\-. :]|%20|%3A)*|/artifacts/directories)?")
_FINAL = {status.value for status in RunStatus if status.is_final}


class GatewayApi:
    """Answers the JSON endpoints for one run. Used by several threads."""

    def __init__(self, sink: Sink, own: OwnRun) -> None:
        self.sink = sink
        self.own = own
        self._open = own.description.scope == "server"
        self._server_tags = ServerTags(sink)
        self._calls: dict[tuple[str, str], Callable[[dict[str, Any], Forward], dict[str, Any]]] = {
            ("GET", "runs/get"): self._get_run,
            ("POST", "runs/create"): self._create_run,
            ("POST", "runs/update"): self._update_run,
            ("POST", "runs/search"): self._search_runs,
            ("POST", "runs/log-batch"): self._log_batch,
            ("POST", "runs/log-metric"): partial(self._log_one, "metrics", "runs/log-metric"),
            ("POST", "runs/log-parameter"): partial(self._log_one, "params", "runs/log-parameter"),
            ("POST", "runs/set-tag"): partial(self._log_one, "tags", "runs/set-tag"),
            ("POST", "runs/delete-tag"): self._delete_tag,
            ("POST", "runs/log-inputs"): partial(self._log_models, "runs/log-inputs"),
            ("POST", "runs/outputs"): partial(self._log_models, "runs/outputs"),
            ("GET", "metrics/get-history"): self._get_history,
            ("GET", "experiments/get"): self._get_experiment,
            ("GET", "experiments/get-by-name"): self._get_experiment,
            ("POST", "experiments/create"): self._create_experiment,
            ("POST", "experiments/search"): self._search_experiments,
            ("GET", "experiments/search"): self._search_experiments,
            ("POST", "logged-models"): self._create_model,
            ("POST", "logged-models/search"): self._search_models,
        }

    def answer(self, method: str, endpoint: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """The JSON answer to *endpoint* (`runs/get`); *given* is its query or body. Raises Rejected."""
        if not self._open:
            self._check_names(given)
        call = self._calls.get((method, endpoint))
        if call is not None:
            return call(given, forward)
        model = _MODEL_PATH.fullmatch(endpoint)
        if model is not None and method in ("GET", "POST", "PATCH", "DELETE"):
            if not self._open and model[1] not in self.sink.state.models:
                raise _not_yours(f"model `{model[1]}`")
            self.flush()
            return self._pass(method, endpoint, given, forward)
        if self._open:
            self.flush()
            return self._pass(method, endpoint, given, forward)
        raise not_open(method, endpoint)

    def is_own(self, run_id: Any) -> bool:
        return isinstance(run_id, str) and run_id in (self.sink.run.get("run_id"), self.sink.state.provisional_id)

    def is_allowed(self, run_id: Any) -> bool:
        return self._open or self.is_own(run_id) or (isinstance(run_id, str) and run_id in self.sink.state.children)

    def flush(self) -> None:
        """Let MLflow have what was logged so far. Raises MlflowUnreachable."""
        if not self.sink.lock.acquire(timeout=_FLUSH_PATIENCE_S):
            raise MlflowUnreachable("earlier metrics are still being sent")
        try:
            self.sink.create()
            self.sink.push_logged()
        finally:
            self.sink.lock.release()

    def translated(self, content: str) -> str:
        """What the program says about its provisional id, said about the real one."""
        provisional, real = self.sink.state.provisional_id, self.sink.run.get("run_id")
        return content.replace(provisional, str(real)) if provisional and real else content

    def _pass(self, method: str, endpoint: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        return self.pass_on(method, API + endpoint, given, forward)

    def pass_on(self, method: str, path: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """The server's answer. Raises Rejected with its refusal."""
        from urllib.parse import urlencode

        if method == "GET":
            status, content = forward(method, f"{path}?{self.translated(urlencode(given, doseq=True))}", b"")
        else:
            status, content = forward(method, path, self.translated(json.dumps(given)).encode())
        try:
            document = json.loads(content) if content else {}
        except ValueError:
            document = {"message": content[:500].decode(errors="replace")}
        if not 200 <= status < 300:
            raise Rejected(status, str(document.get("error_code", "INTERNAL_ERROR")), str(document.get("message", "")))
        return dict(document)

    def _check_names(self, given: Any) -> None:
        """Protobuf reads `runId` as `run_id`: a second way to say what we check is closed. So are metrics of others' models."""
        for value in given if isinstance(given, list) else (given,):
            if not isinstance(value, dict):
                continue
            # One look at all names: a batch has a thousand objects, and the program waits.
            if (names := "".join(value)) != names.lower():
                wrong = next(name for name in value if name != name.lower())
                raise Rejected(400, "INVALID_PARAMETER_VALUE", f"unknown field `{wrong[:80]}`: names are written `like_this`")
            if "key" in value and value.get("model_id") and value["model_id"] not in self.sink.state.models:
                raise _not_yours(f"model `{value['model_id']}`")
            for inner in value.values():
                if isinstance(inner, dict | list):
                    self._check_names(inner)

    def _run_of(self, given: Mapping[str, Any]) -> Any:
        named = [run_id for run_id in (given.get("run_id"), given.get("run_uuid")) if run_id] or [None]
        for run_id in named:
            if not self.is_allowed(run_id):
                raise _not_yours(f"run `{run_id}`")
        return named[0]

    def _get_run(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        run_id = self._run_of(given)
        if not self.is_own(run_id):
            self.flush()
            return _reached_through_here(self._pass("GET", "runs/get", {"run_id": run_id}, forward))
        # MLflow 3's client asks before each `log_metrics`, and should not wait for a server that is slow or down.
        return {"run": self._own_run()}

    def _own_run(self) -> dict[str, Any]:
        tags = self.own.tags(*self._server_tags.latest(), sent=self.sink.state.tags)
        return self.own.as_run(self.sink.run, self.sink.state.provisional_id, tags)

    def _create_run(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if not self._open and not _names_parent(given) and self.sink.take():
            # Lightning's MLFlowLogger and its like know no MLFLOW_RUN_ID: they ask for a run, and there is one.
            return {"run": self._taken_as(given)}
        self.flush()
        if not self._open:
            given["experiment_id"] = self.sink.run["experiment_id"]
            given["tags"] = self._childs_tags(given.get("tags") or [])
        answer = self._pass("POST", "runs/create", given, forward)
        self.sink.add_child(str(answer["run"]["info"]["run_id"]))
        return _reached_through_here(answer)

    def _taken_as(self, given: dict[str, Any]) -> dict[str, Any]:
        """The run itself, with what the program says about the one that it wants."""
        if name := given.get("run_name"):
            self.own.rename(name)
        tags = [tag for tag in given.get("tags") or [] if not (isinstance(tag, dict) and is_launchers(str(tag.get("key"))))]
        self.own.log(tags=tags)
        return self._own_run()

    def _childs_tags(self, given: list[Any]) -> list[Any]:
        tags = {tag["key"]: tag for tag in self._without_launchers(given)}
        tags.setdefault(_PARENT, {"key": _PARENT, "value": self.sink.run["run_id"]})
        return list(tags.values())

    def _without_launchers(self, tags: list[Any]) -> list[Any]:
        """Tags that a program may give a run that it makes: `launch.run_id` and its like say which run is one of ours."""
        kept = [
            tag for tag in tags if isinstance(tag, dict) and isinstance(tag.get("key"), str) and not is_below_launch(tag["key"])
        ]
        if len(kept) != len(tags):
            self.own.ignored("tags below `launch.` that the program set were ignored: they are the launcher's")
        for tag in kept:
            if tag["key"] == _PARENT and not self.is_allowed(tag.get("value")):
                raise _not_yours(f"run `{tag.get('value')}`")
        return kept

    def _update_run(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        run_id = self._run_of(given)
        if not self.is_own(run_id):
            answer = self._pass("POST", "runs/update", given, forward)
            if given.get("status") in _FINAL and run_id in self.sink.state.children:
                self.sink.end_child(run_id)
            return answer
        if name := given.get("run_name"):
            self.own.rename(name)
        if given.get("status") == RunStatus.RUNNING.value:
            self.sink.take()  # `mlflow.start_run()`, which knows MLFLOW_RUN_ID
        # Its status is the launcher's to say: MLflow's client says FINISHED at exit, whatever happened.
        return {"run_info": self.own.info(self.sink.run, self.sink.state.provisional_id)}

    def _search_runs(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self.flush()
        if self._open:
            return self._pass("POST", "runs/search", given, forward)
        given["experiment_ids"] = [self.sink.run["experiment_id"]]
        answer = self._pass("POST", "runs/search", given, forward)
        answer["runs"] = [run for run in answer.get("runs", []) if self.is_allowed(run["info"]["run_id"])]
        for run in answer["runs"]:
            _reached_through_here({"run": run})
        return answer

    def _log_batch(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if not self.is_own(self._run_of(given)):
            if not self._open:
                given["tags"] = self._without_launchers(given.get("tags") or [])
            return self._pass("POST", "runs/log-batch", given, forward)
        self.own.log(metrics=given.get("metrics") or [], params=given.get("params") or [], tags=given.get("tags") or [])
        return {}

    def _log_one(self, kind: str, endpoint: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """A metric, param or tag; *kind* is what a batch calls those."""
        if self.is_own(self._run_of(given)):
            self.own.log(**{kind: [given]})
            return {}
        if kind == "tags" and not (self._open or self._without_launchers([given])):
            return {}
        return self._pass("POST", endpoint, given, forward)

    def _delete_tag(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        is_own, key = self.is_own(self._run_of(given)), str(given.get("key", ""))
        if is_below_launch(key) or (is_own and is_launchers(key)):
            raise Rejected(403, "PERMISSION_DENIED", f"tag `{key[:100]}` belongs to the launcher")
        if not is_own:
            return self._pass("POST", "runs/delete-tag", given, forward)
        self.own.keep("runs/delete-tag", given)
        return {}

    def _log_models(self, endpoint: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if not self.is_own(self._run_of(given)):
            return self._pass("POST", endpoint, given, forward)
        self.own.keep_models(endpoint, given)
        return {}

    def _get_history(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self._run_of(given)
        self.flush()
        return self._pass("GET", "metrics/get-history", given, forward)

    def _get_experiment(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if self._open:
            endpoint = "experiments/get-by-name" if "experiment_name" in given else "experiments/get"
            return self._pass("GET", endpoint, given, forward)
        asked = given.get("experiment_id")
        if asked is not None and asked != self._experiment()["experiment_id"]:
            raise _not_yours(f"experiment `{asked}`")
        # `mlflow.set_experiment("anything")` must not make the next `start_run()` fail because its run is elsewhere.
        self._note_experiment(given.get("experiment_name"))
        return {"experiment": self._experiment(name=given.get("experiment_name"))}

    def _create_experiment(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if self._open:
            return self._pass("POST", "experiments/create", given, forward)
        self._note_experiment(given.get("name"))
        return {"experiment_id": self._experiment()["experiment_id"]}

    def _search_experiments(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        if self._open:
            return self._pass("POST", "experiments/search", given, forward)
        return {"experiments": [self._experiment()]}

    def _note_experiment(self, asked: Any) -> None:
        known = self.own.description.experiment
        if isinstance(asked, str) and asked != known:
            words = f"the program asked for the MLflow experiment `{asked[:100]}`, and its run stays in `{known}`"
            self.own.ignored(f"{words}: `tracking.experiment` names that")

    def _experiment(self, *, name: str | None = None) -> dict[str, Any]:
        experiment_id = str(self.sink.run.get("experiment_id") or "0")
        return {
            "experiment_id": experiment_id,
            "name": name or self.own.description.experiment,
            "artifact_location": f"mlflow-artifacts:/{experiment_id}",
            "lifecycle_stage": "active",
        }

    def _create_model(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self.flush()
        if not self._open:
            given["experiment_id"] = self.sink.run["experiment_id"]
            source = given.get("source_run_id")
            if source and not self.is_allowed(source):
                raise _not_yours(f"run `{source}`")
        answer = self._pass("POST", "logged-models", given, forward)
        self.sink.add_model(str(answer["model"]["info"]["model_id"]))
        return answer

    def _search_models(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self.flush()
        if self._open:
            return self._pass("POST", "logged-models/search", given, forward)
        given["experiment_ids"] = [self.sink.run["experiment_id"]]
        answer = self._pass("POST", "logged-models/search", given, forward)
        answer["models"] = [each for each in answer.get("models", []) if each["info"]["model_id"] in self.sink.state.models]
        return answer


def _names_parent(given: Mapping[str, Any]) -> bool:
    return any(isinstance(tag, dict) and tag.get("key") == _PARENT for tag in given.get("tags") or [])


def _reached_through_here(answer: dict[str, Any]) -> dict[str, Any]:
    """A run whose artifacts the program reaches through this gateway, wherever the server keeps them."""
    info = answer["run"]["info"]
    info["artifact_uri"] = f"mlflow-artifacts:/{info['experiment_id']}/{info['run_id']}/artifacts"
    return answer


def _not_yours(what: str) -> Rejected:
    return Rejected(
        403,
        "PERMISSION_DENIED",
        f"{what} is not this run's, nor made by it; `tracking.scope=server` in the experiment's configuration opens the server",
    )


def not_open(method: str, endpoint: str) -> Rejected:
    what = f"`{method} {endpoint}` is not open"
    if endpoint.startswith(("registered-models", "model-versions")):
        what = "the model registry is closed"
    words = f"{what} to this run; `tracking.scope=server` in the experiment's configuration opens it"
    return Rejected(403, "PERMISSION_DENIED", words)


_OLD_S = 5.0


class ServerTags:
    """The tags of the run as the server has them: somebody may set one in the UI, and the program may look for it.

    The server is asked in the background, when the program asks and the last answer is some seconds old; the program never waits.
    Used by several threads.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._asking = threading.Lock()
        self._asked_at = -_OLD_S
        self._answer: tuple[dict[str, str] | None, int] = (None, 0)

    def latest(self) -> tuple[dict[str, str] | None, int]:
        """What the server said last (None: nothing yet), and how much of `logged.jsonl` it had then."""
        if time.monotonic() - self._asked_at > _OLD_S and self._sink.run and self._asking.acquire(blocking=False):
            self._asked_at = time.monotonic()
            threading.Thread(target=self._ask, daemon=True).start()
        return self._answer

    def _ask(self) -> None:
        client = Mlflow(self._sink.address)
        try:
            size = self._sink.state.logged  # before the question: the answer has at least that
            run = client.get("runs/get", run_id=self._sink.run["run_id"])["run"]
            self._answer = {tag["key"]: tag.get("value", "") for tag in run["data"].get("tags", [])}, size
        except (LaunchError, LookupError, TypeError):
            return  # unreachable, or not as it should be: what it said before still stands
        finally:
            client.close()
            self._asking.release()
