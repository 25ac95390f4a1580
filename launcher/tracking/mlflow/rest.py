"""MLflow's REST API, as far as the launcher needs it, without `import mlflow` (4 s).

What the server refuses for good is MlflowRefused, what may work later MlflowUnreachable. Source: mlflow/protos/service.proto.

Entries of `logged.jsonl` become requests that it takes (mlflow/utils/validation.py): a batch has at most 1000 metrics, 100
params, 100 tags, 1000 in all, 1 MB; keys have at most 250 characters of `[\\w\\-. :/]`, values of params 6000 and of tags 8000.
The launcher's own names are adapted (`a[0]` → `a.0`); what the program sends through the gateway was judged there, as the server
would have judged it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from launcher.errors import LaunchError
from launcher.journal.superseded import Watch
from launcher.tracking.mlflow.address import Address
from launcher.tracking.mlflow.connection import Body, Connection, MlflowUnreachable, Reply
from runtime.light_dataclasses import dataclass, field

API = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's pages open in the view of training runs (its mlflow/server/js: ExperimentKind); the newest go by the link alone
(`run_record.run_url`). Who chose another is left alone."""


class MlflowRefused(LaunchError):
    """The server understood and said no."""

    def __init__(self, message: str, *, status: int, code: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code

    @property
    def lacks_credentials(self) -> bool:
        """Whether somebody with other credentials may get another answer."""
        return self.status in (401, 403, 407)

    @property
    def is_final(self) -> bool:
        """Whether asking again would get the same answer: MLflow itself has said so, nobody in front of it."""
        return bool(self.code) and not self.lacks_credentials


@dataclass(frozen=True, slots=True)
class Experiment:
    experiment_id: str
    name: str
    artifact_location: str = ""


@dataclass(frozen=True, slots=True)
class CreatedRun:
    run_id: str
    artifact_uri: str


class Mlflow:
    """A client for one thread. With *watch* every request may raise Superseded in place of being sent."""

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float = 30.0,
        environ: Mapping[str, str] = os.environ,
        watch: Watch | None = None,
    ) -> None:
        self.address = address
        self._watch = watch
        self._connection = Connection(address, timeout_s=timeout_s, environ=environ)

    def close(self) -> None:
        self._connection.close()

    def send(self, method: str, path: str, *, headers: Mapping[str, str], body: Body = b"", length: int | None = None) -> Reply:
        """Any request, its answer as it comes. Raises MlflowUnreachable when there is none."""
        if self._watch is not None:
            try:
                self._watch.check()
            except OSError as error:
                raise MlflowUnreachable(f"nothing is sent while the run's journal cannot be read: {error}") from error
        return self._connection.request(method, path, headers=headers, body=body, length=length)

    def post(self, endpoint: str, document: dict[str, Any]) -> Answer:
        return self._call("POST", API + endpoint, json.dumps(document).encode())

    def get(self, endpoint: str, **query: str) -> Answer:
        return self._call("GET", f"{API}{endpoint}?{urlencode(query)}", b"")

    def experiment(self, name: str) -> Experiment:
        """The experiment of that name, created when there is none."""
        try:
            return _experiment(self.get("experiments/get-by-name", experiment_name=name))
        except MlflowRefused as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
        try:
            self.post("experiments/create", {"name": name, "tags": pairs(_KIND)})
        except MlflowRefused as error:
            # Somebody else was faster.
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        return _experiment(self.get("experiments/get-by-name", experiment_name=name))

    def create_run(self, experiment_id: str, *, name: str, start_ms: int, tags: Mapping[str, str], user: str) -> CreatedRun:
        document = {
            "experiment_id": experiment_id,
            "run_name": name,
            "start_time": start_ms,
            "user_id": user,
            "tags": pairs(tags),
        }
        answer = self.post("runs/create", document)
        with answer.understood():
            return _created(answer["run"])

    def find_run(self, experiment_id: str, *, tags: Mapping[str, str], start_ms: int) -> CreatedRun | None:
        """A run that an earlier attempt created without hearing the answer."""
        wanted = [f"attributes.start_time = {start_ms}", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())]
        found = self.post(
            "runs/search",
            {"experiment_ids": [experiment_id], "filter": " and ".join(wanted), "max_results": 1, "run_view_type": "ALL"},
        )
        with found.understood():
            return _created(found["runs"][0]) if found.get("runs") else None

    def update_run(self, run_id: str, *, status: str, end_ms: int | None = None) -> None:
        document: dict[str, Any] = {"run_id": run_id, "status": status}
        if end_ms is not None:
            document["end_time"] = end_ms
        self.post("runs/update", document)

    def put_run(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Bring a run to what *document* says (`run_endpoint.py`): a launch's local server takes that, no other."""
        path, headers = f"/launch/runs/{run_id}", {"Content-Type": "application/json"}
        _checked(self.send("PUT", path, headers=headers, body=json.dumps(document).encode()), self.address)

    def put_artifact(self, path: str, file: Path) -> None:
        """Upload *file* to *path* (`<experiment>/<run>/artifacts/...`) through the server's artifact proxy."""
        size = file.stat().st_size
        reply = self.send(
            "PUT",
            f"{ARTIFACTS}/{quote(os.fsencode(path))}",  # the name of a program's file may be no text
            headers={"Content-Type": "application/octet-stream"},
            body=lambda: _file_pieces(file, size),
            length=size,
        )
        _checked(reply, self.address)

    def get_artifact(self, path: str, target: Path) -> None:
        """Download *path* (`<experiment>/<run>/artifacts/...`) from the server's artifact proxy into the new file *target*."""
        reply = self.send("GET", f"{ARTIFACTS}/{quote(os.fsencode(path))}", headers={})
        if not 200 <= reply.status < 300:
            _checked(reply, self.address)
        with target.open("wb") as file:
            file.writelines(reply.pieces)

    def _call(self, method: str, path: str, body: bytes) -> Answer:
        reply = self.send(method, path, headers={"Content-Type": "application/json"}, body=body)
        content = _checked(reply, self.address)
        try:
            return Answer(self.address, content)
        except (ValueError, TypeError) as error:
            raise _strange(self.address, content) from error


class Answer(dict[str, Any]):
    """The JSON object that MLflow answers with. A server that leaves out what was asked for is another one: a proxy, a portal."""

    def __init__(self, address: Address, content: bytes) -> None:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise TypeError("no object")
        super().__init__(document)
        self._address, self._content = address, content

    @contextmanager
    def understood(self) -> Iterator[None]:
        """The body takes what it needs from this answer. Raises MlflowUnreachable where that is not there."""
        try:
            yield
        except (LookupError, TypeError, AttributeError) as error:
            raise _strange(self._address, self._content) from error


def _strange(address: Address, content: bytes) -> MlflowUnreachable:
    shown = content[:80].decode(errors="replace").strip()
    return MlflowUnreachable(
        f"{address} does not answer as an MLflow server does: `{shown}`",
        hint="is it one? `tracking.uri` and MLFLOW_TRACKING_URI say where MLflow is; a proxy's page for people is no answer",
    )


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _checked(reply: Reply, address: Address) -> bytes:
    content = reply.content()
    if 200 <= reply.status < 300:
        return content
    try:
        document = json.loads(content)
        code, words = str(document.get("error_code", "")), str(document.get("message", ""))
    except (ValueError, AttributeError):
        code, words = "", content[:300].decode(errors="replace").strip()
    words = words.partition("[SQL:")[0].strip()  # its database's errors come with the statement and all values
    message = f"{address} answered {reply.status}: {words or code or 'nothing more'}"
    if reply.status in _LATER:
        raise MlflowUnreachable(message)
    hint = None
    if reply.status in (401, 403):
        hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    raise MlflowRefused(message, status=reply.status, code=code, hint=hint)


def _experiment(answer: Answer) -> Experiment:
    with answer.understood():
        document = answer["experiment"]
        found = Experiment(
            str(document["experiment_id"]), str(document.get("name", "")), str(document.get("artifact_location", ""))
        )
    if document.get("lifecycle_stage") == "deleted":
        # get-by-name finds it, but neither create nor runs/create works.
        raise MlflowRefused(
            f"the MLflow experiment `{found.name}` is deleted",
            status=400,
            code="INVALID_STATE",
            hint=f"restore it (`mlflow experiments restore -x {found.experiment_id}`) or set `tracking.experiment`",
        )
    return found


def _created(run: Mapping[str, Any]) -> CreatedRun:
    return CreatedRun(str(run["info"]["run_id"]), str(run["info"].get("artifact_uri", "")))


def _file_pieces(file: Path, size: int) -> Iterator[bytes]:
    """Exactly *size* bytes: a file that grows or shrinks under way must not break the message's frame."""
    left = size
    with file.open("rb") as source:
        while left and (piece := source.read(min(left, 262_144))):
            left -= len(piece)
            yield piece
    yield from _zeros(left)


def _zeros(left: int) -> Iterable[bytes]:
    while left:
        piece = min(left, 262_144)
        left -= piece
        yield bytes(piece)


KEY_MAX = 250
PARAM_MAX = 6000
TAG_MAX = 8000

_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
_TOTAL_MAX = 1000
_POINT_FIELDS = 4
_BYTES_MAX = 900_000
_FOREIGN = re.compile(r"[^\w\-. :/]")
_INDEX = re.compile(r"\[(\w+)\]")


@dataclass(slots=True)
class Batch:
    """One request: a log-batch, or something kept as it came."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    params: list[dict[str, str]] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    post: tuple[str, dict[str, Any]] | None = None
    count: int = 0
    """Entries in it, also those that say nothing."""
    size: int = 0

    def request(self, run_id: str) -> tuple[str, dict[str, Any]]:
        """Endpoint and body."""
        if self.post is not None:
            endpoint, body = self.post
            return endpoint, {**body, "run_id": run_id}
        return "runs/log-batch", {"run_id": run_id, "metrics": self.metrics, "params": self.params, "tags": self.tags}

    def singles(self) -> Iterator[Batch]:
        """The same entries, each alone: to find the one that the server refuses."""
        yield from (Batch(metrics=[item], count=1) for item in self.metrics)
        yield from (Batch(params=[item], count=1) for item in self.params)
        yield from (Batch(tags=[item], count=1) for item in self.tags)


def batches(entries: Iterable[dict[str, Any]]) -> Iterator[Batch]:
    """Entries in their order, as few requests as the limits allow."""
    batch = Batch()
    for entry in entries:
        if "post" in entry:
            if batch.count:
                yield batch
            yield Batch(post=(entry["post"], entry["body"]), count=1)
            batch = Batch()
            continue
        kind, item = _item(entry)
        size = len(json.dumps(item)) + 2
        if not _fits(batch, kind, size):
            yield batch
            batch = Batch()
        if kind is not None:
            getattr(batch, kind).append(item)
        batch.count += 1
        batch.size += size
    if batch.count:
        yield batch


def one_batch(entries: Iterable[dict[str, Any]]) -> Batch | None:
    """All entries, for a server without limits; None when one is a request of its own, or a metric of a model or a dataset."""
    batch = Batch()
    for entry in entries:
        kind, item = _item(entry)
        if "post" in entry or len(item) > _POINT_FIELDS:
            return None
        if kind is not None:
            getattr(batch, kind).append(item)
    return batch


def tag_entries(tags: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Tags of the launcher as entries."""
    return ({"tag": fitting_key(key), "value": fitting_value(value, TAG_MAX)} for key, value in tags.items())


def param_entries(params: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Params of the launcher as entries."""
    return ({"param": fitting_key(key), "value": fitting_value(value, PARAM_MAX)} for key, value in params.items())


@lru_cache(4096)  # the same few names come a thousand times a second
def fitting_key(key: str) -> str:
    """*key* as MLflow allows it."""
    fitting = _FOREIGN.sub("_", _INDEX.sub(r".\1", key))[:KEY_MAX]
    # Its own rule: a key must be its own normalised path (no `a//b`, no `../`, no leading slash).
    parts = [part for part in fitting.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "_"


def is_fitting_key(key: str) -> bool:
    return key == fitting_key(key)


def fitting_value(value: str, longest: int) -> str:
    """*value*, cut so that one sees that it was: the server would cut it silently."""
    return value if len(value) <= longest else value[: longest - 1] + "…"


def _item(entry: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    if "key" in entry:
        item = {"key": fitting_key(entry["key"]), "value": entry["value"], "timestamp": entry["time"], "step": entry["step"]}
        for extra in ("model_id", "dataset_name", "dataset_digest"):
            if extra in entry:
                item[extra] = entry[extra]
        return "metrics", item
    if "param" in entry:
        return "params", {"key": entry["param"], "value": entry["value"]}
    if "tag" in entry:
        return "tags", {"key": entry["tag"], "value": entry["value"]}
    return None, {}


def _fits(batch: Batch, kind: str | None, size: int) -> bool:
    if batch.count >= _TOTAL_MAX or (batch.count and batch.size + size > _BYTES_MAX):
        return False
    return kind is None or len(getattr(batch, kind)) < _LIMITS[kind]
