"""`launch images`, `launch images ACTION IMAGE …`: what the store holds. One file an action, `launcher/cli/images/`."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli.actions import action_main, epilog

ACTIONS = {
    "show": "what an image is, what it is made of and who has used it",
    "history": "which step made each layer, and how big that is",
    "sbom": "the software in an image, as CycloneDX JSON",
    "rm": "remove images and their names; `launch gc` frees their layers",
    "pin": "let images stay, however old they get",
    "unpin": "let them go as others do",
}
"""Word → what it does; `launcher.cli.images.<word>` does it."""


def main(arguments: Sequence[str]) -> int:
    done = action_main("images", ACTIONS, arguments, shown_by_default="an image")
    if done is not None:
        return done
    parser = args.Parser(
        "images",
        "List the images in the store, oldest first, or look into one.",
        usage="[ACTION IMAGE ...] [--json]",
        epilog=epilog("images", ACTIONS),
    )
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.cli.images.list import list_images

    return list_images(as_json=options.json)
