"""`launch images rm IMAGE …`: take images and their names out of the store."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images rm", "Remove images and their names; `launch store gc` frees their layers.", usage="IMAGE ...")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from runtime.store.garbage import remove_image

    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in options.images]:
        remove_image(store, image)
        print(image.digest.short)
    return 0
