"""`launch store check`: is every layer what its name says?"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.build.step_label import counted
from runtime.state_dir import state_dir
from runtime.store.check import check_layers
from runtime.store.layer_on_disk import remove_layer
from runtime.store.store import Store


def check_store(arguments: Sequence[str]) -> int:
    parser = args.Parser("store check", "Compare everything in the store with its digest.", usage="[--repair]")
    parser.add_argument("--repair", action="store_true", help="remove damaged layers; they are built again when needed")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    store = Store(state_dir().store)
    damaged = check_layers(store)
    for damage in damaged:
        print(f"{damage.diff_id.short}  {damage.problem}")
        if options.repair:
            remove_layer(store.root, damage.diff_id)
    render.say(
        f"{counted(len(store.layers()), 'layer')}, {len(damaged)} damaged{' and removed' if damaged and options.repair else ''}"
    )
    return 1 if damaged and not options.repair else 0
