"""`launch images rm IMAGE …`: take images and their names out of the store."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.errors import ConfigError
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images rm", "Remove images and their names; `launch gc` frees their layers.", usage="IMAGE ...")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.run.images_in_use import images_in_use
    from runtime.store.garbage import remove_image

    state = state_dir()
    store = Store(state.store)
    images = [store.image(reference) for reference in options.images]
    runs = images_in_use(state)
    for image in images:
        if image.digest in runs:
            raise ConfigError(f"run `{runs[image.digest]}` uses image `{image.digest.short}`", hint="`launch stop` ends a run")
    for image in images:
        remove_image(store, image)
        print(image.digest.short)
    return 0
