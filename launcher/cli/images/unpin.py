"""`launch images unpin IMAGE …`: they may go again."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images unpin", "Take the pins of images away: `launch gc` treats them as any other.", usage="IMAGE ...")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from runtime.store.in_use import unpin

    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in options.images]:
        if not unpin(store, image):
            render.say(f"image `{image.digest.short}` was not pinned")
        print(image.digest.short)
    return 0
