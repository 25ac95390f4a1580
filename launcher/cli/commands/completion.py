"""`launch completion bash|zsh|fish`: the script for the shell, and the words it asks for.

    source <(launch completion bash)

The script asks `launch completion words -- WORD…`, so that a new command or experiment needs no new script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args

_SCRIPTS = {
    "bash": """\
_launch() {
    local IFS=$'\\n'
    COMP_WORDBREAKS="${COMP_WORDBREAKS//=/}"
    local found="$(launch completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _launch launch
""",
    "zsh": """\
#compdef launch
_launch() {
    local -a found
    found=("${(@f)$(launch completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -Q -- $found || _files
}
compdef _launch launch
""",
    "fish": """\
complete -c launch -f -a '(launch completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
""",
}
_TAKES_RUNS = (
    *("attach", "exec", "kill", "logs", "outputs", "pause", "rerun", "shell", "stats"),
    *("stop", "sync", "top", "unpause", "wait"),
)
_TAKES_IMAGES = ("diff", "push", "save", "verify")
_TAKES_EXPERIMENTS = ("run", "plan", "build", "lock")


def main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "words":
        typed = list(arguments[2:]) if arguments[1:2] == ["--"] else list(arguments[1:])
        print("\n".join(_words(typed or [""])))
        return 0
    parser = args.Parser("completion", "Print the completion script for a shell.", usage="bash|zsh|fish")
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="`source <(launch completion bash)` turns it on")
    sys.stdout.write(_SCRIPTS[parser.parse_args(arguments).shell])
    return 0


def _words(typed: list[str]) -> list[str]:
    """What may stand where the last of *typed* is being written."""
    from launcher.cli.main import COMMANDS

    command = typed[0] if len(typed) > 1 and typed[0] in COMMANDS else None
    if command in _TAKES_RUNS:
        return _runs()
    if command == "images":
        from launcher.cli.commands.images import ACTIONS

        return list(ACTIONS) if len(typed) < 3 else _images()
    if command == "gpus":
        from launcher.cli.commands.gpus import ACTIONS as GPU_ACTIONS

        return list(GPU_ACTIONS) if len(typed) < 3 else []
    if command in _TAKES_IMAGES:
        return _images()
    if command is None or command in _TAKES_EXPERIMENTS:
        experiments = [f"experiment={name}" for name in _experiments()]
        return experiments if len(typed) > 1 else [*COMMANDS, *experiments]
    return []


def _experiments() -> list[str]:
    from launcher.config.project import list_experiments

    return [found.name for found in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]


def _runs() -> list[str]:
    from launcher.tracking.record.run_record import list_runs
    from runtime.state_dir import state_dir

    return ["@last", *[record.run_id for record in list_runs(state_dir())]]


def _images() -> list[str]:
    from runtime.state_dir import state_dir
    from runtime.store.store import Store

    images = Store(state_dir().store).images()
    return [word for image in images for word in (*image.names, image.digest.short)]
