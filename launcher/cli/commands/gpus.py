"""`launch gpus`: the GPUs of this machine, who uses and who holds them, and whether they are well. `--watch` looks again."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.actions import action_main, epilog
from runtime.errors import GpuError

_BEGIN, _END = "\x1b[?7l\x1b[2J", "\x1b[?7h"
"""Long lines are cut off; and wrapped again."""
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

ACTIONS = {
    "show": "everything that is known of one GPU, and why the rest is not",
    "cdi": "a CDI specification of the NVIDIA GPUs, for other container runtimes",
}
"""Word → what it does; `launcher.cli.gpus.<word>` does it."""


def main(arguments: Sequence[str]) -> int:
    done = action_main("gpus", ACTIONS, arguments, shown_by_default="a GPU")
    if done is not None:
        return done
    parser = args.Parser(
        "gpus",
        "Show the GPUs of this machine: memory, health, who is on them in which run, and who holds their leases.",
        usage="[ACTION] [--topology] [--watch] [--interval SECONDS] [--json]",
        epilog=epilog("gpus", ACTIONS),
    )
    parser.add_argument("--topology", action="store_true", help="how the GPUs are connected, and which CPUs are near them")
    parser.add_argument("--watch", action="store_true", help="look again and again; `q` or Ctrl-C ends it")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (2)")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line a look")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if not 0.1 <= options.interval <= 3600:
        parser.error("--interval takes 0.1 to 3600 seconds")
    return _watch(options) if options.watch else _show(options)


def _show(options: argparse.Namespace) -> int:
    from launcher.cli.gpus.table import lines
    from launcher.cli.gpus.view import document, look

    view = look(os.environ, with_topology=options.topology)
    if options.json:
        json.dump(document(view), sys.stdout, indent=2)
        print()
        return 0
    print("\n".join(lines(view)), end="\n" if view.gpus else "")
    if not view.gpus:
        render.say(_why_none())
    return 0


def _why_none() -> str:
    from runtime.gpu.inventory import has_driver

    if has_driver():
        return "no GPUs: the NVIDIA driver is loaded and finds none"
    return "no GPUs: there is no NVIDIA driver here, and no AMD GPU that ROCm can use (/sys/class/kfd)"


def _watch(options: argparse.Namespace) -> int:
    from launcher.cli.keys import typed_keys

    live = sys.stdout.isatty() and not options.json
    sys.stdout.write(_BEGIN if live else "")
    with typed_keys() as keys:
        try:
            while True:
                shown = _one_look(options)
                sys.stdout.write(_screen(shown) if live else "\n".join(shown) + "\n")
                sys.stdout.flush()
                if keys.pressed("q", within_s=options.interval):
                    return 0
        except KeyboardInterrupt:
            return 0
        finally:
            sys.stdout.write(_END if live else "")


def _screen(shown: Sequence[str]) -> str:
    """Written over what was there: a screen that is cleared first flickers. What doesn't fit is cut, never wrapped."""
    fitting = shown[: max(1, shutil.get_terminal_size().lines - 1)]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in fitting) + _CLEAR_BELOW


def _one_look(options: argparse.Namespace) -> list[str]:
    """A look, or why there is none now: the driver may be reloaded while we watch."""
    from launcher.cli.gpus.table import lines
    from launcher.cli.gpus.view import document, look

    try:
        view = look(os.environ, with_topology=options.topology)
    except GpuError as error:
        failed = {"time": round(time.time(), 3), "error": error.message, "hint": error.hint}
        return (
            [json.dumps(failed)] if options.json else [time.strftime("%H:%M:%S"), f"error: {error.message}", "", error.hint or ""]
        )
    if options.json:
        return [json.dumps({"time": round(time.time(), 3), **document(view)})]
    return [time.strftime("%H:%M:%S"), *(lines(view) if view.gpus else [_why_none()]), ""]
