"""`PUT /launch/runs/ID` of the local MLflow server: what is new of a run, in one request instead of five.

On the private socket only. Answers 200 when it is written, 409 when it is for MLflow's own API (`mlflow_run_rows.py` says when),
503 when it may pass later; any other server answers 404. Who asks is `local_sink.py`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from launcher.tracking.mlflow.run_rows import RowsRefused, RunRows

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
