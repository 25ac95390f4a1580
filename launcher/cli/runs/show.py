"""`launch runs show RUN`: everything that is known about one run."""

from __future__ import annotations

import json

from launcher.cli import render
from launcher.cli.cluster_run import settle_all
from launcher.cli.runs.summary import headline, usage_words
from launcher.run.recover import recover_all
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_nodes import node_words
from runtime.state_dir import state_dir


def show_run(reference: str, *, as_json: bool) -> int:
    state = state_dir()
    settle_all(state)
    recover_all(state)
    record = find_run(state, reference)
    if as_json:
        render.print_json(record.to_json())
        return 0
    print(headline(record))
    for name, value in record.to_json().items():
        if value in (None, "", [], {}) or name in ("run_id", "experiment", "status"):
            continue
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        if name == "usage":
            shown = usage_words(value)
        if name == "nodes":
            shown = node_words(record.nodes)
        print(f"  {name:<14} {shown}")
    return 0
