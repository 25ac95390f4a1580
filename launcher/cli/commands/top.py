"""`launch top RUN`: the processes of a run, as the machine and as the container numbers them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "top", "Show the processes of a run; the first is the container's init.", usage="RUN [--node K] [--json]"
    )
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_node_option(parser)
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.living import living_run
    from launcher.run.now import processes_of

    found = processes_of(living_run(state_dir(), options.run, node=options.node))
    if options.json:
        json.dump([asdict(one) for one in found], sys.stdout, indent=2)
        print()
        return 0
    rows = [
        (
            one.pid,
            one.pid_inside,
            one.uid,
            one.state,
            one.threads,
            render.duration(one.cpu_s),
            render.size(one.memory_bytes),
            render.printable(one.command)[:120],
        )
        for one in found
    ]
    print(render.table(("PID", "INSIDE", "UID", "STATE", "THREADS", "CPU TIME", "MEMORY", "COMMAND"), rows))
    return 0
