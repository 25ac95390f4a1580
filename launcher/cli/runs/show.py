"""`launch runs show RUN`: everything that is known about one run; as JSON what every command prints of a run with `--json`."""

from __future__ import annotations

import json

from launcher.cli import render
from launcher.cli.cluster_run import settle_all
from launcher.cli.runs.summary import headline, usage_words
from launcher.errors import LaunchError
from launcher.run.recover import recover_all
from launcher.tracking.lack import lack_words
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_nodes import node_words
from launcher.tracking.record.run_record import fold
from runtime.state_dir import RunDir, state_dir


def show_run(reference: str, *, as_json: bool) -> int:
    state = state_dir()
    settle_all(state)
    recover_all(state)
    record = find_run(state, reference)
    if as_json:
        print_record(record.run_dir)
        return 0
    lack = lack_words(record.run_dir)
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
    if lack is not None:
        print(f"  {'mlflow':<14} {render.printable(lack)}")
    return 0


def print_record(run_dir: RunDir, **more: object) -> int:
    """The run or sweep of *run_dir* as JSON on stdout, with *more* keys. Returns its exit code, 0 while it has none."""
    record = fold(run_dir)
    if record is None:
        raise LaunchError(f"run `{run_dir.run_id}` was removed meanwhile")
    if record.is_sweep:
        from launcher.sweep.results import read_known_results

        more = {"results": read_known_results(run_dir).to_json(), **more}
    render.print_json({**record.to_json(), "mlflow_lacks": lack_words(run_dir), **more})
    return record.exit_code or 0
