"""`launch completion bash|zsh|fish`: the script for the shell, and the words it asks for.

    source <(launch completion bash)

The script asks `launch completion words -- WORD…`, so that a new command or experiment needs no new script.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from launcher.cli.command import Argument, Command, Group
from launcher.cli.main import commands, typed_commands
from launcher.config.hydra_text import assignments
from launcher.config.project import SearchPath, list_experiments, search_path
from launcher.errors import ConfigError, LaunchError

_SCRIPTS = {
    "bash": """\
_launch() {
    local IFS=$'\\n'
    COMP_WORDBREAKS="${COMP_WORDBREAKS//=/}"
    local found="$(launch completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)"
    COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *[=.] ]] && compopt -o nospace
}
complete -o default -F _launch launch
""",
    "zsh": """\
#compdef launch
_launch() {
    local -a found
    found=("${(@f)$(launch completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -- ${(M)found:#*[=.]}
    compadd -Q -- ${found:#*[=.]} || (( $#compstate[nmatches] )) || _files
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
    *before, last = typed or ("",)
    print("\n".join(_words(before, last)))
    return 0


def _words(before: Sequence[str], last: str) -> list[str]:
    if not before and "=" not in last and not last.startswith("-"):
        return [*typed_commands(), *_experiments()]
    command = _command(before)
    if command.actions and len(before) == 1 and not last.startswith("-"):
        return list(command.actions)
    arguments = _arguments(command)
    if last.startswith("-"):
        return [name for argument in arguments for name in argument.names if name.startswith("-")]
    option = next((argument for argument in arguments if before and before[-1] in argument.names), None)
    if option is not None and option.settings.get("action") != "store_true":
        arguments = [option]
        if "choices" in option.settings:
            return list(option.settings["choices"])
    else:
        arguments = [argument for argument in arguments if not argument.names[0].startswith("-")]
    kinds = dict.fromkeys(kind for argument in arguments for kind in argument.completed_by)
    if "keys" in kinds and "=" in last:
        return _values(last)
    words = [word for kind in kinds if kind != "keys" for word in _NAMES[kind]()]
    return [*words, *(_keys(before, last) if "keys" in kinds else [])]


def _command(before: Sequence[str]) -> Command:
    """The command that stands there; of a noun (`launch images`) the action, where one stands there."""
    known = commands()
    command = known.get(before[0], known["run"]) if before else known["run"]
    return command.actions.get(before[1], command) if command.actions and len(before) > 1 else command


def _arguments(command: Command) -> list[Argument]:
    """Those in groups too."""
    return [
        argument
        for declared in command.arguments
        for argument in (declared.arguments if isinstance(declared, Group) else [declared])
    ]


def _presets() -> SearchPath:
    return search_path(config_dir=None, cwd=Path.cwd(), environ=os.environ)


def _values(last: str) -> list[str]:
    """Behind the `=` of *last*: presets, or words of which one is meant."""
    from launcher.config.schema_shape import shape_at

    key, presets = last.partition("=")[0], _presets()
    shape = shape_at(key.split("."))
    words = _gpu_models() if key == "gpu.model" else [] if shape is None else shape.words
    return [f"{key}={value}" for value in (presets.options(key) if presets.is_group(key) else words)]


def _keys(before: Sequence[str], key: str) -> list[str]:
    """Keys one level at a time, as directories are."""
    from launcher.config.schema_shape import known_keys, shape_at

    if key.startswith("params."):
        return _parameters(before)
    level = key[: key.rfind(".") + 1]
    found = {f"{group}=" for group in _presets().groups() if group != "experiment" and not level}
    for name in known_keys():
        here, dot, _below = name.removeprefix(level).partition(".")
        shape = shape_at(name.split("."))
        if name.startswith(level) and shape is not None and (dot or shape.scalar or not shape.mapping):
            found.add(f"{level}{here}{'.' if dot or shape.open_mapping else '='}")
    return sorted(found)


def _parameters(before: Sequence[str]) -> list[str]:
    """Of the experiment that was chosen; none while what stands there is not right yet."""
    from launcher.cli.arguments import Request, has_experiment
    from launcher.cli.prepare import compose

    with suppress(LaunchError):
        if has_experiment(before):
            overrides = tuple(word for word in before if "=" in word)
            params = compose(Request(overrides, (), None, None)).spec.params
            return [f"{text.partition('=')[0]}=" for text in assignments({"params": dict(params)})]
    return []


def _gpu_models() -> list[str]:
    """Of this machine. It is a regular expression that is typed: dots in place of blanks need no quotes."""
    from runtime.errors import GpuError
    from runtime.gpu.inventory import read_gpus

    with suppress(GpuError):
        return sorted({gpu.model.replace(" ", ".") for gpu in read_gpus() if gpu.model})
    return []


def _experiments() -> list[str]:
    return [f"experiment={each.name}" for each in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]


def _runs(*, sweeps_alone: bool = False) -> list[str]:
    from launcher.tracking.record.find_runs import list_runs
    from runtime.state_dir import state_dir

    return ["@last", *[record.run_id for record in list_runs(state_dir()) if record.is_sweep or not sweeps_alone]]


def _sweeps() -> list[str]:
    return _runs(sweeps_alone=True)


def _shells() -> list[str]:
    return list(_SCRIPTS)


def _images() -> list[str]:
    from runtime.state_dir import state_dir
    from runtime.store.store import Store

    images = Store(state_dir().store).images()
    return [word for image in images for word in (*image.names, image.digest.short)]


_NAMES = {"runs": _runs, "sweeps": _sweeps, "images": _images, "experiments": _experiments, "shells": _shells}
"""`Argument.completed_by` → what there is."""
