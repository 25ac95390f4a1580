"""Artifacts through the gateway. The run's own are kept in its directory first and sent on by the tracker; those of runs and
models that the program made go straight through.

A path from the program is data: decoded once, refused when it isn't plain, and joined below the run's spool only.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from launcher.tracking.gateway.gateway_api import GatewayApi
from launcher.tracking.gateway.gateway_traces import GatewayTraces
from launcher.tracking.gateway.own_run import Rejected
from launcher.tracking.mlflow import artifacts
from launcher.tracking.mlflow.connection import MlflowUnreachable, Reply
from launcher.tracking.mlflow.rest import API, ARTIFACTS

Stream = Callable[[str, str, Iterable[bytes], int | None], Reply]
"""Send (method, path, body, length) to the server; the answer is still on the wire."""


class GatewayArtifacts:
    """Answers `mlflow-artifacts/artifacts...` and `artifacts/list` for one run."""

    def __init__(self, api: GatewayApi, traces: GatewayTraces) -> None:
        self._api = api
        self._traces = traces
        self._spool = api.sink.run_dir.artifacts

    def put(self, raw_path: str, body: Iterable[bytes], length: int | None, stream: Stream) -> Reply:
        path = _plain(unquote(raw_path))
        own = self._below_own(path)
        body = self._counted(path, body, length)
        if own is None:
            self._check_foreign(path, stream)
            return stream("PUT", f"{ARTIFACTS}/{quote(self._api.translated(path))}", body, length)
        if not own:
            raise Rejected(400, "INVALID_PARAMETER_VALUE", f"`{path}` is no artifact, but the run's own directory of them")
        if artifacts.is_reserved(own):
            first = own.split("/")[0]
            words = f"artifacts under `{first}/` belong to the launcher: log it under another name, `my_{first}/` say"
            raise Rejected(403, "PERMISSION_DENIED", words)
        self._keep(own, body)
        return _reply(b"")

    def get(self, raw_path: str, stream: Stream) -> Reply:
        path = _plain(unquote(raw_path))
        own = self._below_own(path)
        if own is None:
            self._check_foreign(path, stream)
            return stream("GET", f"{ARTIFACTS}/{quote(self._api.translated(path))}", (), 0)
        kept = self._spool / own
        if kept.is_file() and not kept.is_symlink():
            return Reply(200, {"content-type": "application/octet-stream"}, _pieces(kept))
        return stream("GET", f"{ARTIFACTS}/{quote(self._servers(own))}", (), 0)

    def list_proxied(self, query: dict[str, Any], stream: Stream) -> Reply:
        """`GET mlflow-artifacts/artifacts?path=...`: names are relative to that path."""
        path = _plain(str(query.get("path", "")))
        own = self._below_own(path)
        if own is None:
            self._check_foreign(path, stream)
            return stream("GET", f"{ARTIFACTS}?path={quote(self._api.translated(path), safe='')}", (), 0)
        return _reply(json.dumps({"files": self._listed(own, stream)}).encode())

    def list_of_run(self, query: dict[str, Any], stream: Stream) -> Reply:
        """`GET artifacts/list?run_id=...&path=...`: names are relative to the run's artifacts."""
        run_id = query.get("run_id") or query.get("run_uuid")
        if not self._api.is_allowed(run_id):
            raise Rejected(403, "PERMISSION_DENIED", f"run `{run_id}` is not this run's, nor made by it")
        path = _plain(str(query.get("path", "")))
        if not self._api.is_own(run_id):
            self._api.flush()
            return stream("GET", f"{API}artifacts/list?run_id={quote(str(run_id))}&path={quote(path, safe='')}", (), 0)
        root = self._api.own.info(self._api.sink.run, self._api.sink.state.provisional_id)["artifact_uri"]
        files = [{**file, "path": f"{path}/{file['path']}" if path else file["path"]} for file in self._listed(path, stream)]
        return _reply(json.dumps({"root_uri": root, "files": files}).encode())

    def _listed(self, own: str, stream: Stream) -> list[dict[str, Any]]:
        """What the server has at *own* below the run's artifacts, and what it will get."""
        found: dict[str, dict[str, Any]] = {}
        run = self._api.sink.run
        if artifacts.is_proxied(run):
            try:
                reply = stream("GET", f"{ARTIFACTS}?path={quote(self._servers(own), safe='')}", (), 0)
                content = reply.content()
                if reply.status == 200:
                    found = {file["path"]: file for file in json.loads(content).get("files", [])}
            except (MlflowUnreachable, ValueError):
                found = {}
        directory = self._spool / own
        if directory.is_dir():
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    found[entry.name] = {"path": entry.name, "is_dir": True}
                elif not entry.name.startswith(_PARTIAL):
                    size = entry.stat(follow_symlinks=False).st_size
                    found[entry.name] = {"path": entry.name, "is_dir": False, "file_size": size}
        return [found[name] for name in sorted(found)]

    def _servers(self, own: str) -> str:
        """Where the server keeps the run's own artifact *own*."""
        run = self._api.sink.run
        if not artifacts.is_proxied(run):
            raise Rejected(404, "RESOURCE_DOES_NOT_EXIST", f"no artifact `{own}`")
        root = artifacts.artifact_root(run)
        return f"{root}/{own}" if own else root

    def _below_own(self, path: str) -> str | None:
        """The part behind `<experiment>/<this run>/artifacts/`; None for another's path."""
        _, _, rest = path.partition("/")
        run_id, _, rest = rest.partition("/")
        head, _, own = rest.partition("/")
        return own if self._api.is_own(run_id) and head == "artifacts" else None

    def _check_foreign(self, path: str, stream: Stream) -> None:
        """Raises Rejected unless *path* is of a run, model or trace that the program made, on a server that takes uploads."""

        def forward(method: str, path: str, _body: bytes) -> tuple[int, bytes]:
            reply = stream(method, path, (), 0)
            return reply.status, reply.content()

        state, run = self._api.sink.state, self._api.sink.run
        experiment = re.escape(str(run.get("experiment_id")))
        allowed = [rf"{experiment}/{re.escape(child)}/artifacts(/.*)?" for child in state.children]
        allowed += [rf"{experiment}/models/{re.escape(model)}/artifacts(/.*)?" for model in state.models]
        is_open = self._api.own.description.scope == "server" or any(re.fullmatch(form, path) for form in allowed)
        if not is_open and not self._traces.are_spans_of_own(path, forward):
            raise Rejected(403, "PERMISSION_DENIED", f"artifact path `{path}` is not of this run, nor of one that it made")
        self._api.flush()
        if not artifacts.is_proxied(run):
            raise Rejected(
                501, "NOT_IMPLEMENTED", "the MLflow server takes no uploads; only the run's own artifacts can be logged"
            )

    def _counted(self, path: str, body: Iterable[bytes], length: int | None) -> Iterator[bytes]:
        """*body*, within what the run may log as artifacts. One that is logged again takes the place of the one before."""
        limit, state = self._api.own.description.max_size, self._api.sink.state
        left = math.inf if limit is None else limit - sum(size for other, size in state.uploaded.items() if other != path)
        if (length or 0) > left:
            raise _too_much(path, limit)
        return self._counting(path, body, left, limit)

    def _counting(self, path: str, body: Iterable[bytes], left: float, limit: int | None) -> Iterator[bytes]:
        size = 0
        for piece in body:
            size += len(piece)
            if size > left:
                raise _too_much(path, limit)
            yield piece
        if limit is not None:
            state = self._api.sink.state
            state.uploaded = {**state.uploaded, path: size}  # another one: it may be written down just now

    def _keep(self, own: str, body: Iterable[bytes]) -> None:
        target = self._spool / own
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = target.with_name(f"{_PARTIAL}{os.urandom(4).hex()}")
            try:
                with partial.open("xb") as file:
                    file.writelines(body)
                partial.rename(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise Rejected(507, "INTERNAL_ERROR", f"cannot keep artifact `{own}`: {error.strerror}") from error


def _too_much(path: str, limit: int | None) -> Rejected:
    words = (
        f"with `{path}` the run would have logged more than `outputs.max_size` ({limit} bytes); what is in /outputs stays there"
    )
    return Rejected(413, "RESOURCE_EXHAUSTED", words)


_PARTIAL = artifacts.PARTIAL
_NAME_BYTES = 255
"""The longest name that a file system has."""


def _plain(path: str) -> str:
    """*path* without a trailing slash. Raises Rejected for what could mean something else than it says."""
    parts = path.rstrip("/").split("/") if path.rstrip("/") else []
    if any(part in ("", ".", "..") or part.startswith(_PARTIAL) for part in parts) or re.search(r"[\x00-\x1f\\]", path):
        raise Rejected(400, "INVALID_PARAMETER_VALUE", f"invalid artifact path: {path[:200]!r}")
    plain = "/".join(parts)
    if artifacts.is_too_long(plain) or any(len(part.encode()) > _NAME_BYTES for part in parts):
        words = f"artifact path `{path[:60]}...` is too long: {len(parts)} parts, {len(plain.encode())} bytes"
        raise Rejected(400, "INVALID_PARAMETER_VALUE", words)
    return plain


def _reply(content: bytes) -> Reply:
    return Reply(200, {"content-type": "application/json"}, iter([content]))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(262_144):
            yield piece
