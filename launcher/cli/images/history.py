"""`launch images history IMAGE`: which step made each layer and how big that is, the newest first, as `docker history`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.plan.images.image_facts import image_history
from runtime.state_dir import state_dir
from runtime.store.store import Store

_WIDTH = 90


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images history", "Show the steps of an image, newest first.", usage="IMAGE [--full] [--json]")
    parser.add_argument("image", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    parser.add_argument("--full", action="store_true", help="don't shorten long commands")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    steps = image_history(Store(state_dir().store).image(options.image))[::-1]
    if options.json:
        json.dump(steps, sys.stdout, indent=2)
        print()
    elif steps:
        print(render.table(("LAYER", "CREATED", "SIZE", "CREATED BY"), [_row(step, full=options.full) for step in steps]))
    return 0


def _row(step: dict[str, Any], *, full: bool) -> tuple[str, ...]:
    words = render.printable(" ".join(str(step["created_by"]).split()))
    if step["made_of"]:
        words += f" (with {', '.join(step['made_of'][1:])})"
    if not full and len(words) > _WIDTH:
        words = f"{words[: _WIDTH - 1]}…"
    layer = "-" if step["empty"] else step["diff_id"][7:19]
    return layer, render.printable(str(step["created"] or "-")[:19]), render.size(step["size_bytes"]), words
