"""`launch runs show RUN`: everything that is known about one run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.summary import headline
from launcher.cli.usage_words import usage_words
from launcher.tracking.record.run_nodes import node_words
from launcher.tracking.record.run_record import RunRecord, find_run
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("runs show", "Show everything that is known about a run.", usage="RUN [--json]")
    parser.add_argument("run", metavar="RUN", help=args.RUN)
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.cli.cluster_run import settle_all
    from launcher.run.recover import recover_all

    state = state_dir()
    settle_all(state)
    recover_all(state)
    return _show(find_run(state, options.run), as_json=options.json)


def _show(record: RunRecord, *, as_json: bool) -> int:
    if as_json:
        json.dump(record.to_json(), sys.stdout, indent=2)
        print()
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
