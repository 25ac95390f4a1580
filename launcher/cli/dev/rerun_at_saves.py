"""`launch dev --watch`: run a program in a container to work in, and run it again whenever the code is saved.

A save ends the try that goes on and begins the next. Ctrl-C is for the try; between two tries it is for us.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.dev.saves import Saves
from launcher.cli.runs.relay import SIGNALS, Relayed
from launcher.cli.runs.shell import run_inside
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord
from runtime.container.exec_inside import is_there

_NAMED = 3
_LOOK_S = 2.0
"""How often to look whether the container is still there."""


def rerun_at_saves(record: RunRecord, options: Options) -> Relayed:
    """The command behind `--`, or the experiment's own, until somebody leaves."""
    plan = json.loads(record.run_dir.plan.read_bytes())["plan"]
    argv = options.command or tuple(plan["argv"])
    inbox = SignalInbox(SIGNALS)  # one for all tries: what comes between two of them is not lost
    with Saves(Path(plan["code"]["root"]), [path for path, _mode, _digest in plan["code"]["files"]]) as saves:
        if saves.misses:
            render.warn("the kernel has no watches left for you (fs.inotify.max_user_watches): Enter runs it again")
        while True:
            on_terminal = _is_on_terminal()
            done = run_inside(record, argv, options, with_stdin=True, on_terminal=on_terminal, inbox=inbox, until=saves.fileno())
            if not done.has_ended:
                return done
            saved: list[str] | None = saves.read()
            if not saved:
                _say(options, f"ended with exit code {done.code}; runs again when the code is saved, or at Enter; Ctrl-C leaves")
                saved = _wait_for_save(record, saves, inbox)
            if saved is None:
                return Relayed(done.code, has_ended=True)
            _say(options, f"again: {_named(saved)}" if saved else "again")


def _is_on_terminal() -> bool:
    return os.isatty(sys.stdin.fileno())


def _say(options: Options, words: str) -> None:
    if not options.quiet:
        render.say(render.styled(words, "dim"))


def _named(saved: Sequence[str]) -> str:
    more = len(saved) - _NAMED
    return ", ".join(map(render.printable, saved[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _wait_for_save(record: RunRecord, saves: Saves, inbox: SignalInbox) -> list[str] | None:
    """What was saved; nothing of it where Enter was pressed. None: it is time to leave."""
    stdin = sys.stdin.fileno()
    listened_to = [saves, inbox.fd, *([stdin] if _is_on_terminal() else [])]
    while is_there(record.run_dir.init_socket):
        ready = select.select(listened_to, [], [], _LOOK_S)[0]
        if saves in ready and (saved := saves.read()):
            return saved
        if inbox.fd in ready and any(number not in (signal.SIGWINCH, signal.SIGCONT) for number in inbox.read()):
            return None
        if stdin in ready:
            return [] if os.read(stdin, 1 << 12) else None
    render.say("the container has ended")
    return None
