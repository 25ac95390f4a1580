"""`launch store gc`, `launch store check`: what the store can do without, and whether it is what it says."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.errors import ConfigError

ACTIONS = {
    "gc": "remove what nothing needs (the same as `launch gc`)",
    "check": "read everything and compare it with its digest; `--repair` makes what is damaged again",
}


def main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "gc":
        from launcher.cli.store.gc import collect_garbage

        return collect_garbage("store gc", arguments[1:])
    if arguments and arguments[0] == "check":
        from launcher.cli.store.check import check_store

        return check_store(arguments[1:])
    parser = args.Parser(
        "store",
        "Look after the store of layers and images.",
        usage="gc | check [OPTIONS]",
        epilog="actions (`launch store ACTION --help` shows what one takes):\n"
        + "\n".join(f"  {word:<6} {text}" for word, text in ACTIONS.items()),
    )
    parser.add_argument("action", choices=list(ACTIONS), metavar="ACTION", help="one of those below")
    args.add_debug_options(parser)
    action = parser.parse_args(arguments).action
    raise ConfigError(f"options stand behind the action: `launch store {action} …`")
