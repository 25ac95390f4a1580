"""`system.jsonl`: what a run takes from its machine, sample after sample; of one on several nodes each under its node's name."""

from __future__ import annotations

import json
from collections.abc import Mapping

from launcher.journal.run_journal import append_line
from runtime.state_dir import RunDir


def append_sample(run_dir: RunDir, at: float, values: Mapping[str, float], *, nodes: int) -> None:
    """Add what was seen *at* (Unix seconds) of a run on so many *nodes*: `cpu_…`, or `node_1/cpu_…`. Raises OSError."""
    prefix = f"node_{run_dir.node}/" if nodes > 1 else ""
    line = json.dumps({"time": at, **{f"{prefix}{name}": value for name, value in values.items()}}) + "\n"
    append_line(run_dir.system_metrics, line.encode())
