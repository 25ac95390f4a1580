"""`system.jsonl`: what a run takes from its machine, sample after sample; of one on several nodes each under its node's name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from launcher.journal import journal
from runtime.state_dir import RunDir


def append_sample(run_dir: RunDir, at: float, values: Mapping[str, float], *, nodes: int) -> None:
    """Add what was seen *at* (Unix seconds) of a run on so many *nodes*: `cpu_…`, or `node_1/cpu_…`. Raises OSError."""
    prefix = f"node_{run_dir.node}/" if nodes > 1 else ""
    line = json.dumps({"time": at, **{f"{prefix}{name}": value for name, value in values.items()}}) + "\n"
    file = journal.open_journal(run_dir.system_metrics)
    try:
        journal.write_line(file, line.encode(), durable=False)
    finally:
        os.close(file)
