"""`PUT /launch/runs/ID` of the local MLflow server: what is new of a run, in one request and one transaction instead of five.

On the private socket only. Answers 200 when it is written, 409 when it is for MLflow's own API, 503 when it may pass later; any
other server answers 404. Who asks is `local_sink.py`.

Only the local server does this, in its own database, which is SQLite. It writes what MLflow's store writes for `runs/create`,
`runs/log-batch` and `runs/update` (mlflow/store/tracking/sqlalchemy_store.py), row by row the same. The caller chooses the run's
id, so that writing twice is writing once. What this file doesn't know (another table layout, a deleted run, a param that has
another value) it refuses, and who asks goes through MLflow's API, which does it or says why not.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any

from launcher.tracking.mlflow.rest import KEY_MAX, PARAM_MAX, TAG_MAX, is_fitting_key

PATH = "/launch/runs/"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RunEndpoint:
    """An ASGI application for that one address."""

    def __init__(self, rows: RunRows) -> None:
        self._rows = rows
        self._one_at_a_time = asyncio.Lock()

    def is_for(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "PUT" and str(scope["path"]).startswith(PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = await _body(receive)
        async with self._one_at_a_time:
            # In a thread: another writer may hold the database for a while, and the loop serves them, too.
            status, message = await asyncio.to_thread(self._write, str(scope["path"]).removeprefix(PATH), content)
        body = json.dumps({"message": message} if message else {}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _write(self, run_id: str, content: bytes) -> tuple[int, str]:
        try:
            self._rows.write(run_id, json.loads(content))
        except (RowsRefused, ValueError) as refusal:
            return 409, str(refusal)
        except sqlite3.Error as error:
            return 503, f"{type(error).__name__}: {error}"
        return 200, ""


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


_COLUMNS = {
    "experiments": {"experiment_id", "name", "artifact_location", "lifecycle_stage"},
    "runs": {
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time", "end_time"),
        *("deleted_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"),
    },
    "tags": {"key", "value", "run_uuid"},
    "params": {"key", "value", "run_uuid"},
    "metrics": {"key", "value", "timestamp", "step", "is_nan", "run_uuid"},
    "latest_metrics": {"key", "value", "timestamp", "step", "is_nan", "run_uuid"},
}
"""Of MLflow 3.5 to 3.17. A table that we write to may have no column more; of experiments we only read."""

_BUSY_S = 20.0
_INTEGER_MAX = 2**63 - 1
_INFINITY = 1.7976931348623157e308
"""SQL has no infinity: MLflow stores the largest number."""

_NEW_RUN = """
    INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,
                      deleted_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
    SELECT :run_id, :name, 'UNKNOWN', '', '', :user, 'RUNNING', :start_ms, NULL, NULL, '', 'active', :artifact_uri, experiment_id
    FROM experiments
    WHERE experiment_id = :experiment_id AND name = :experiment AND lifecycle_stage = 'active'
      AND artifact_location || '/' || :run_id || '/artifacts' = :artifact_uri
    ON CONFLICT (run_uuid) DO NOTHING
"""
_SET_STATUS = "UPDATE runs SET status = ?, end_time = coalesce(?, end_time) WHERE run_uuid = ?"
_SET_NAME = "UPDATE runs SET name = ? WHERE run_uuid = ?"
_SET_TAG = (
    "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"
)
_NEW_PARAM = "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT (key, run_uuid) DO NOTHING"
_NEW_METRIC = """
    INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_LATEST_METRIC = """
    INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key, run_uuid) DO UPDATE
    SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
    WHERE (excluded.step, excluded.timestamp, excluded.value)
        > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""


class RowsRefused(Exception):
    """Nothing was written: this is for MLflow's own API."""


class RunRows:
    """The writer: one connection. For one thread at a time."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA foreign_keys = ON")
        # As in the server's other connections: runs are recorded in their directories, too.
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        self._connection.close()

    def write(self, run_id: str, document: Mapping[str, Any]) -> None:
        """Bring the run to what *document* says (`local_sink.py`). Raises RowsRefused, and sqlite3.Error for what may pass."""
        try:
            rows = _Rows(run_id, document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RowsRefused(f"not a run that can be written: {error!r}") from error
        with closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                _write(cursor, rows)
            except BaseException as error:
                cursor.execute("ROLLBACK")
                if isinstance(error, sqlite3.IntegrityError):
                    raise RowsRefused(str(error)) from error
                raise
            cursor.execute("COMMIT")


def is_known_layout(database: Path) -> bool:
    """Whether the tables are those that this file was written for."""
    with closing(sqlite3.connect(database)) as connection:
        for table, known in _COLUMNS.items():
            found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if not known <= found or (table != "experiments" and known != found):
                return False
    return True


class _Rows:
    """A document, judged as MLflow would judge it (mlflow/utils/validation.py) and laid out as rows."""

    def __init__(self, run_id: str, document: Mapping[str, Any]) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", run_id):
            raise ValueError(f"`{run_id}` is no run id")
        self.run_id = run_id
        self.run = {
            "run_id": run_id,
            **{name: _text(document[name], 250) for name in ("name", "user", "experiment", "artifact_uri")},
            **{name: _integer(document[name]) for name in ("start_ms", "experiment_id")},
        }
        self.status = str(document["status"])
        self.end_ms = None if document.get("end_ms") is None else _integer(document["end_ms"])
        self.params = [(_key(each), _text(each["value"], PARAM_MAX), run_id) for each in document["params"]]
        self.tags = [(_key(each), _text(each["value"], TAG_MAX), run_id) for each in document["tags"]]
        self.metrics = [_metric(each, run_id) for each in document["metrics"]]


def _write(cursor: sqlite3.Cursor, rows: _Rows) -> None:
    cursor.execute(_NEW_RUN, rows.run)
    stage = cursor.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (rows.run_id,)).fetchone()
    if stage != ("active",):
        raise RowsRefused("the run or its experiment is not there, is deleted, or keeps its artifacts elsewhere")
    _write_params(cursor, rows)
    cursor.executemany(_SET_TAG, rows.tags)
    cursor.executemany(_SET_NAME, [(value, run_id) for key, value, run_id in rows.tags if key == "mlflow.runName"])
    cursor.executemany(_NEW_METRIC, rows.metrics)
    cursor.executemany(_LATEST_METRIC, _latest(rows.metrics))
    cursor.execute(_SET_STATUS, (rows.status, rows.end_ms, rows.run_id))


def _write_params(cursor: sqlite3.Cursor, rows: _Rows) -> None:
    if not rows.params or cursor.executemany(_NEW_PARAM, rows.params).rowcount == len(rows.params):
        return
    there = dict(cursor.execute("SELECT key, value FROM params WHERE run_uuid = ?", (rows.run_id,)))
    for key, value, _run_id in rows.params:
        if there[key] != value:
            raise RowsRefused(f"param `{key}` has another value")


def _latest(metrics: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Of each metric the point that MLflow calls the latest: by step, then time, then value."""
    latest: dict[str, tuple[Any, ...]] = {}
    for point in metrics:
        key, value, time_ms, step = point[:4]
        other = latest.get(key)
        if other is None or (step, time_ms, value) > (other[3], other[2], other[1]):
            latest[key] = point
    return list(latest.values())


def _metric(given: Mapping[str, Any], run_id: str) -> tuple[Any, ...]:
    if given.keys() - {"key", "value", "timestamp", "step"}:
        raise ValueError("a metric of a model or a dataset")
    value, time_ms, step = float(given["value"]), _integer(given["timestamp"]), _integer(given["step"])
    if time_ms < 0:
        raise ValueError("a time before 1970")
    if math.isinf(value):
        value = math.copysign(_INFINITY, value)
    is_nan = math.isnan(value)
    return _key(given), 0.0 if is_nan else value, time_ms, step, is_nan, run_id


def _key(given: Mapping[str, Any]) -> str:
    key = _text(given["key"], KEY_MAX)
    if not is_fitting_key(key):
        raise ValueError(f"`{key}` is no name")
    return key


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"not a text of at most {longest} characters")
    return value


def _integer(value: Any) -> int:
    number = int(value)
    if abs(number) > _INTEGER_MAX:
        raise ValueError("not a number of 64 bits")
    return number
