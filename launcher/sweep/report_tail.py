"""The reports of one metric by a run, as they come: what a pruner judges."""

from __future__ import annotations

import json
from collections.abc import Iterator

from runtime.state_dir import RunDir


class ReportTail:
    """Reads `logged.jsonl` from where it stopped. A step that comes again, as after a new attempt, counts once; a program that
    logs everything under one step has each of its reports counted."""

    def __init__(self, run_dir: RunDir, metric: str) -> None:
        self._path = run_dir.logged
        self._needle = json.dumps(metric).encode()
        self._metric = metric
        self._offset = 0
        self._steps: set[int] = set()

    def new_values(self) -> Iterator[float]:
        for line in self._new_lines():
            if self._needle not in line:  # parsing every line of a talkative program would cost more than the search
                continue
            try:
                entry = json.loads(line)
                value, step = float(entry["value"]), int(entry.get("step", 0))
            except (ValueError, TypeError, KeyError):
                continue
            if entry.get("key") == self._metric and not self._is_known(step):
                yield value

    def _is_known(self, step: int) -> bool:
        known = step in self._steps and len(self._steps) > 1
        self._steps.add(step)
        return known

    def _new_lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()
