"""`launch list`: the experiments on the search path, with their descriptions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("list", "List the experiments that can be launched.", usage="[--json] [--config-dir DIR]")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory in front of the configuration search path")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.config.project import list_experiments

    found = list_experiments(config_dir=options.config_dir, cwd=Path.cwd(), environ=os.environ)
    if options.json:
        json.dump([{"name": e.name, "description": e.description, "file": str(e.file)} for e in found], sys.stdout, indent=2)
        print()
    else:
        print(
            render.table(
                ("EXPERIMENT", "DESCRIPTION", "FILE"),
                [(e.name, e.description or "", render.home_relative(e.file)) for e in found],
            )
        )
    return 0
