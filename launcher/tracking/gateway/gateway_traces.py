"""Traces through the gateway (`@mlflow.trace`, feedback, `search_traces`): those of the program's own run, and of runs it made.

MLflow keeps a trace in an experiment, and in its metadata the run that it is of. Here both are the gateway's to say; whose a
trace is, is what the server has there. Spans come as an artifact of the trace: `/v1/traces` (OpenTelemetry's form, in which each
span says whose it is) stays closed, and MLflow's client does without where a server's version is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from launcher.tracking.gateway.gateway_api import Forward, GatewayApi, not_open
from launcher.tracking.gateway.own_run import Rejected

_V3 = "/api/3.0/mlflow/"
_SOURCE_RUN = "mlflow.sourceRun"
_PLACES = frozenset({"mlflow.artifactlocation", "mlflow.trace.spanslocation"})
"""Tags that tell whoever reads a trace where its spans are, files of theirs too."""
_ID = r"tr-[0-9a-f]{32}"
_OF_TRACE = re.compile(rf"/api/[23]\.0/mlflow/traces/({_ID})(/tags|/assessments(/[\w-]+)?)?")
_OF_SPANS = re.compile(rf"[^/]+/traces/({_ID})/artifacts(/.*)?")


def is_trace_path(path: str) -> bool:
    return re.match(r"/api/[23]\.0/mlflow/traces(/|$)", path) is not None


class GatewayTraces:
    """Answers `traces…` of both versions of MLflow's API for one run. Used by several threads."""

    def __init__(self, api: GatewayApi) -> None:
        self._api = api
        self._own: set[str] = set()
        """Known to be; a cache."""

    def answer(self, method: str, path: str, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        """The JSON answer to *path*. Raises Rejected."""
        if (method, path) == ("POST", f"{_V3}traces"):
            return self._start(given, forward)
        if (method, path) == ("POST", f"{_V3}traces/search"):
            return self._search(given, forward)
        found = _OF_TRACE.fullmatch(path)
        if found is None or method not in ("GET", "POST", "PATCH", "DELETE"):
            raise not_open(method, path)
        self._check(found[1], forward)
        if str(given.get("key", "")).strip().lower() in _PLACES:
            raise Rejected(403, "PERMISSION_DENIED", f"tag `{given['key']}` of a trace is the server's")
        assessment = given.get("assessment")
        for said in (given, assessment if isinstance(assessment, dict) else {}):
            # The path says which trace; nothing else may.
            for name in [name for name in said if name.lower().replace("_", "") in ("traceid", "requestid")]:
                said[name] = found[1]
        return self._api.pass_on(method, path, given, forward)

    def are_spans_of_own(self, artifact_path: str, forward: Forward) -> bool:
        """Whether an artifact's path is that of the spans of one of these traces."""
        found = _OF_SPANS.fullmatch(artifact_path)
        return found is not None and self._is_own(found[1], forward)

    def _start(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self._api.flush()
        trace = given.get("trace")
        info = trace.get("trace_info") if isinstance(trace, dict) else None
        if not isinstance(info, dict) or not re.fullmatch(_ID, str(info.get("trace_id"))):
            raise Rejected(400, "INVALID_PARAMETER_VALUE", "a trace has a `trace_info` with a `trace_id`")
        _check_spelling(given, given["trace"], info)
        self._refuse_anothers(info["trace_id"], forward)
        metadata = info.setdefault("trace_metadata", {})
        if not isinstance(metadata, dict) or not self._api.is_allowed(metadata.setdefault(_SOURCE_RUN, self._run["run_id"])):
            raise Rejected(403, "PERMISSION_DENIED", "the run of that trace is not this run, nor made by it")
        info["trace_location"] = self._location
        if isinstance(info.get("tags"), dict):
            info["tags"] = {key: value for key, value in info["tags"].items() if key.strip().lower() not in _PLACES}
        answer = self._api.pass_on("POST", f"{_V3}traces", given, forward)
        self._own.add(info["trace_id"])
        return answer

    def _search(self, given: dict[str, Any], forward: Forward) -> dict[str, Any]:
        self._api.flush()
        _check_spelling(given)
        given["locations"] = [self._location]
        if _SOURCE_RUN not in str(given.get("filter") or ""):
            of_run = f"metadata.`{_SOURCE_RUN}` = '{self._run['run_id']}'"
            given["filter"] = f"{given['filter']} AND {of_run}" if given.get("filter") else of_run
        answer = self._api.pass_on("POST", f"{_V3}traces/search", given, forward)
        answer["traces"] = [info for info in answer.get("traces", []) if self._api.is_allowed(_run_of(info))]
        return answer

    @property
    def _run(self) -> Mapping[str, Any]:
        return self._api.sink.run

    @property
    def _location(self) -> dict[str, Any]:
        return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self._run["experiment_id"]}}

    def _check(self, trace_id: str, forward: Forward) -> None:
        if not self._is_own(trace_id, forward):
            raise Rejected(403, "PERMISSION_DENIED", f"trace `{trace_id}` is not of this run, nor of one that it made")

    def _is_own(self, trace_id: str, forward: Forward) -> bool:
        if trace_id not in self._own:
            info = self._found(trace_id, forward)
            if info is None or not self._api.is_allowed(_run_of(info)):
                return False
            self._own.add(trace_id)
        return True

    def _refuse_anothers(self, trace_id: str, forward: Forward) -> None:
        """The server would write over a trace that is there."""
        if self._found(trace_id, forward) is not None:
            self._check(trace_id, forward)

    def _found(self, trace_id: str, forward: Forward) -> dict[str, Any] | None:
        try:
            answer = self._api.pass_on("GET", f"{_V3}traces/{trace_id}", {}, forward)
        except Rejected as error:
            if error.status == 404:
                return None
            raise
        trace = answer.get("trace")
        info = trace.get("trace_info") if isinstance(trace, dict) else None
        return info if isinstance(info, dict) else {}


def _check_spelling(*documents: Mapping[str, Any]) -> None:
    """Protobuf reads `traceLocation` as `trace_location`: what we say could be said twice."""
    for name in (name for document in documents for name in document):
        if name != name.lower():
            raise Rejected(400, "INVALID_PARAMETER_VALUE", f"unknown field `{name[:80]}`: names are written `like_this`")


def _run_of(info: Mapping[str, Any]) -> Any:
    metadata = info.get("trace_metadata")
    return metadata.get(_SOURCE_RUN) if isinstance(metadata, dict) else None
