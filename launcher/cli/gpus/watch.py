"""`launch gpus`: the GPUs of this machine, who uses and who holds them, and whether they are well. `--watch` looks again."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.gpus.table import lines
from launcher.cli.gpus.view import document, look
from launcher.cli.terminal import typed_keys
from runtime.errors import GpuError

_BEGIN, _END = "\x1b[?7l\x1b[2J", "\x1b[?7h"
"""Long lines are cut off; and wrapped again."""
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def show_gpus(options: Options) -> int:
    view = look(os.environ, with_topology=options.topology)
    if options.json:
        render.print_json(document(view))
        return 0
    print("\n".join(lines(view)), end="\n" if view.gpus else "")
    if not view.gpus:
        render.say(_no_gpus_reason())
    return 0


def _no_gpus_reason() -> str:
    from runtime.gpu.inventory import has_driver

    if has_driver():
        return "no GPUs: the NVIDIA driver is loaded and finds none"
    return "no GPUs: there is no NVIDIA driver here, and no AMD GPU that ROCm can use (/sys/class/kfd)"


def watch_gpus(options: Options) -> int:
    live = sys.stdout.isatty() and not options.json
    screen = render.screen(sys.stdout)
    screen.write(_BEGIN if live else "")
    with typed_keys() as keys:
        try:
            while True:
                shown = [render.escaped(line) for line in _look_lines(options)]
                screen.write(_screen(shown) if live else "\n".join(shown) + "\n")
                screen.flush()
                if keys.wait_for("q", within_s=options.interval):
                    return 0
        except KeyboardInterrupt:
            return 0
        finally:
            screen.write(_END if live else "")


def _screen(shown: Sequence[str]) -> str:
    """Written over what was there: a screen that is cleared first flickers. What doesn't fit is cut, never wrapped."""
    fitting = shown[: max(1, shutil.get_terminal_size().lines - 1)]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in fitting) + _CLEAR_BELOW


def _look_lines(options: Options) -> list[str]:
    """A look, or why there is none now: the driver may be reloaded while we watch."""
    try:
        view = look(os.environ, with_topology=options.topology)
    except GpuError as error:
        failed = {"time": round(time.time(), 3), "error": error.message, "hint": error.hint}
        return (
            [json.dumps(failed)] if options.json else [time.strftime("%H:%M:%S"), f"error: {error.message}", "", error.hint or ""]
        )
    if options.json:
        return [json.dumps({"time": round(time.time(), 3), **document(view)})]
    return [time.strftime("%H:%M:%S"), *(lines(view) if view.gpus else [_no_gpus_reason()]), ""]
