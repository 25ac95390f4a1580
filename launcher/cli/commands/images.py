"""`launch images`, `launch images ACTION IMAGE …`: what the store holds. One file an action, `launcher/cli/images_*.py`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.errors import ConfigError

ACTIONS = {
    "show": "what an image is, what it is made of and who has used it",
    "history": "which step made each layer, and how big that is",
    "sbom": "the software in an image, as CycloneDX JSON",
    "rm": "remove images and their names; `launch gc` frees their layers",
    "pin": "let images stay, however old they get",
    "unpin": "let them go as others do",
}
"""Word → what it does; `launcher.cli.images_<word>` does it."""


def main(arguments: Sequence[str]) -> int:
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in ACTIONS:
            raise ConfigError(f"unknown action `{arguments[0]}`", hint=_what_was_meant(arguments[0]))
        action = importlib.import_module(f"launcher.cli.images_{arguments[0]}")
        code: int = action.main(arguments[1:])
        return code
    parser = args.Parser(
        "images",
        "List the images in the store, oldest first, or look into one.",
        usage="[ACTION IMAGE ...] [--json]",
        epilog="actions (`launch images ACTION --help` shows what one takes):\n"
        + "\n".join(f"  {word:<9} {text}" for word, text in ACTIONS.items()),
    )
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.cli.images_list import list_images

    return list_images(as_json=options.json)


def _what_was_meant(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, ACTIONS, n=1)
    return f"did you mean `launch images {near[0]}`?" if near else f"`launch images show {word}` shows an image"
