"""`launch images pin IMAGE …`: what no `launch gc` takes."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images pin", "Let images stay, however old they get and however full the store is.", usage="IMAGE ...")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from runtime.store.in_use import pin

    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in options.images]:
        pin(store, image)
        print(image.digest.short)
    return 0
