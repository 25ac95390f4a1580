"""`launch completion bash|zsh|fish`: the script for the shell, and the words it asks for.

    source <(launch completion bash)

The script asks `launch completion words -- WORD…`, so that a new command or experiment needs no new script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli.main import commands
from launcher.errors import ConfigError

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


def print_script(shell: str) -> int:
    if shell not in _SCRIPTS:
        raise ConfigError(f"there is no completion for the shell `{shell}`", hint="`launch completion bash`, or zsh, or fish")
    sys.stdout.write(_SCRIPTS[shell])
    return 0


def print_words(typed: Sequence[str]) -> int:
    """What may stand where the last of *typed* is being written."""
    print("\n".join(_words(list(typed) or [""])))
    return 0


def _words(typed: list[str]) -> list[str]:
    known = commands()
    if len(typed) < 2:
        return [*known, *_experiments()]
    command = known.get(typed[0], known["run"])
    if command.actions:
        if len(typed) < 3:
            return list(command.actions)
        command = command.actions.get(typed[1], command)
    kinds = dict.fromkeys(kind for argument in command.arguments for kind in argument.completed_by)
    return [word for kind in kinds for word in _NAMES[kind]()]


def _experiments() -> list[str]:
    from launcher.config.project import list_experiments

    return [f"experiment={each.name}" for each in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]


def _runs() -> list[str]:
    from launcher.tracking.record.find_runs import list_runs
    from runtime.state_dir import state_dir

    return ["@last", *[record.run_id for record in list_runs(state_dir())]]


def _images() -> list[str]:
    from runtime.state_dir import state_dir
    from runtime.store.store import Store

    images = Store(state_dir().store).images()
    return [word for image in images for word in (*image.names, image.digest.short)]


_NAMES = {"runs": _runs, "images": _images, "experiments": _experiments}
"""`Argument.completed_by` → what there is."""
