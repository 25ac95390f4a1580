"""The tags of the run as the server has them: somebody may set one in the UI, and the program may look for it.

The server is asked in the background, when the program asks and the last answer is some seconds old; the program never waits.
"""

from __future__ import annotations

import threading
import time

from launcher.errors import LaunchError
from launcher.tracking.mlflow.rest import Mlflow
from launcher.tracking.mlflow.sink import Sink

_OLD_S = 5.0


class ServersTags:
    """Used by several threads."""

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
