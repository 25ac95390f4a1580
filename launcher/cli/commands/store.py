"""`launch store gc`, `launch store check`: what the store can do without, and whether it is what it says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.build.step_label import counted
from runtime.state_dir import StateDir, state_dir

_DAY_S = 86_400


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("store", "Look after the store of layers and images.", usage="gc [--unused DAYS] | check [--remove]")
    parser.add_argument(
        "action", choices=["gc", "check"], help="gc: remove what nothing needs; check: compare layers with their digests"
    )
    parser.add_argument("--unused", type=float, default=30, metavar="DAYS", help="gc: what was not used for so long (default 30)")
    parser.add_argument("--remove", action="store_true", help="check: remove damaged layers; they are built again when needed")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    state = state_dir()
    return _collect(state, options) if options.action == "gc" else _check(state, options)


def _collect(state: StateDir, options: argparse.Namespace) -> int:
    from launcher.run.active import active_runs
    from launcher.tracking.record import fold
    from runtime.store.garbage import collect
    from runtime.store.store import Store

    records = [fold(run_dir) for run_dir in active_runs(state)]
    in_use = [record.image_digest for record in records if record is not None and record.image_digest]
    gone = collect(Store(state.store), unused_s=options.unused * _DAY_S, keep=in_use, blobs_unused_s=options.unused * _DAY_S)
    parts = (counted(len(gone.images), "image"), counted(len(gone.layers), "layer"), counted(gone.blobs, "blob"))
    print(f"{', '.join(parts)} removed: {render.size(gone.freed_bytes)}")
    return 0


def _check(state: StateDir, options: argparse.Namespace) -> int:
    from runtime.store.check import check_layers
    from runtime.store.layer_on_disk import remove_layer
    from runtime.store.store import Store

    store = Store(state.store)
    damaged = check_layers(store)
    for damage in damaged:
        print(f"{damage.diff_id.short}  {damage.problem}")
        if options.remove:
            remove_layer(store.root, damage.diff_id)
    render.say(
        f"{counted(len(store.layers()), 'layer')}, {len(damaged)} damaged{' and removed' if damaged and options.remove else ''}"
    )
    return 1 if damaged and not options.remove else 0
