"""The sink of a further node of a run: nothing goes to MLflow from there, and the program's calls are answered all the same.

Rank 0's word counts, as everywhere where many ranks say the same. What other nodes' programs log stays in `nodes/K/logged.jsonl`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from launcher.errors import LaunchError
from launcher.tracking.mlflow.sink import Sink

_FIRST_NODE_WITHIN_S = 3.0
_LOOK_S = 0.05


class NodeSink(Sink):
    def create(self) -> dict[str, Any]:
        """The MLflow run of the first node, once that has it."""
        deadline = time.monotonic() + _FIRST_NODE_WITHIN_S
        while not self.run:
            try:
                self.run = json.loads(self.run_dir.mlflow.read_bytes())
            except (FileNotFoundError, ValueError):
                if time.monotonic() > deadline:
                    raise LaunchError("the first node has no MLflow run yet") from None
                time.sleep(_LOOK_S)
        return self.run

    def push(self) -> None:
        """Runs that the program made and left open are ended by the first node's sink, which can try again later."""

    def push_logged(self) -> None:
        return

    def is_complete(self) -> bool:
        return True
