"""What was typed: find the command, do it; a failure is shown once (`failures.py`). `launch --help`."""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from launcher.cli.command import Command, has_debug, split_command
from launcher.cli.failures import failures_shown
from launcher.cli.render import escaped_streams
from launcher.errors import ConfigError, LaunchError

_NEW_OBJECTS = 20_000
"""Before Python's collector looks at them. What it looks at 700 by default takes a tenth of a short command's time."""

_FILES = ("experiments", "runs", "running", "images", "machine")
"""In `launcher.cli.commands`, in the order of the help."""

_GIVES_TERMINAL = re.compile(r"--tty|-[dqvi]*t[dqvi]*").fullmatch
"""Among the words of `launch run`."""

_HEAD = """\
launch: declarative ML experiments. A YAML file becomes an image, an isolated container and a recorded run.

usage: launch experiment=NAME [KEY=VALUE ...] [OPTIONS]
       launch COMMAND [ARGUMENTS]

commands:
"""

_TAIL = """
examples:
  launch experiment=digits                              build what is missing, run, record
  launch experiment=digits params.lr=0.01 seed=3        change values (Hydra's override grammar)
  launch experiment=digits --with humanize              one more requirement
  launch experiment=digits -- python3 other.py          another command in the same environment
  launch -m experiment=digits params.lr=0.1,0.01        a sweep
  launch rerun @last                                    the same again, compared

`launch COMMAND --help` tells more. State lies in LAUNCH_HOME; RUN is a short prefix, a name, `@last` or an MLflow run id.
"""


def run(typed: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; prints failures, never a traceback for what a user can cause."""
    gc.set_threshold(_NEW_OBJECTS)
    if len(typed) > 1 and typed[0] == "help":
        typed = [*typed[1:], "--help"]
    with escaped_streams(), failures_shown(debug=has_debug(typed)) as ending:
        if typed and typed[0] in ("-h", "--help", "help"):
            _print_help()
        elif typed and typed[0] == "--version":
            from launcher.version import VERSION

            print(f"launch {VERSION}")
        else:
            _refuse_other_than_text(split_command(typed)[0])
            command, rest = find_command(typed)
            ending.code = command.function(command.parse(rest) if command.parses else rest)
        sys.stdout.flush()
    return ending.code


def needs_terminal(typed: Sequence[str]) -> bool:
    """Whether what was typed is a command that asks at the terminal, or hands it to a program."""
    with suppress(LaunchError):
        command, words = find_command(typed)
        return command.needs_terminal or (command.words == "run" and any(map(_GIVES_TERMINAL, split_command(words)[0])))
    return False


def _refuse_other_than_text(words: Sequence[str]) -> None:
    """Names and values end in records, which are UTF-8. What stands behind `--` is a program's own affair."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"`{word}` is not UTF-8") from None


def commands() -> dict[str, Command]:
    """Every command by its word; nouns have their actions."""
    modules = [importlib.import_module(f"launcher.cli.commands.{file}") for file in _FILES]
    declared = [value for module in modules for value in vars(module).values() if isinstance(value, Command)]
    return {command.words: command for command in declared if " " not in command.words}


def find_command(typed: Sequence[str]) -> tuple[Command, list[str]]:
    """The command that *typed* begins with, and what stands behind its words; `run` without a word. Raises ConfigError."""
    words = list(typed)
    if not words or "=" in words[0] or words[0].startswith(("-", "~", "+")):
        from launcher.cli.commands.experiments import run

        return run, words
    known = commands()
    if words[0] not in known:
        raise ConfigError(f"unknown command `{words[0]}`", hint=_command_meant(words[0], known))
    command = known[words.pop(0)]
    if not command.actions or not words or words[0].startswith("-"):
        return command, words
    if words[0] not in command.actions:
        raise ConfigError(f"unknown action `{words[0]}`", hint=_action_meant(words[0], command))
    return command.actions[words[0]], words[1:]


def _command_meant(word: str, known: Collection[str]) -> str:
    from launcher.config.project import list_experiments
    from runtime.suggestions import closest

    experiments = [each.name for each in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]
    if word in experiments:
        return f"an experiment is launched with `launch experiment={word}`"
    near = closest(word, [*known, *experiments])
    if near is None:
        return "`launch --help` lists the commands, `launch list` the experiments"
    return f"did you mean `launch {near if near in known else f'experiment={near}'}`?"


def _action_meant(word: str, noun: Command) -> str:
    from runtime.suggestions import did_you_mean

    shows_it = f"`launch {noun.words} show {word}` shows it"
    otherwise = shows_it if "show" in noun.actions else f"`launch {noun.words} --help` lists its actions"
    return did_you_mean(word, noun.actions, prefix=f"launch {noun.words} ") or otherwise


def typed_commands() -> dict[str, Command]:
    """Those of `commands` that people type."""
    return {word: command for word, command in commands().items() if command.is_typed}


def _print_help() -> None:
    known = typed_commands()
    width = max(map(len, known))
    lines = "".join(f"  {word:<{width}}  {command.summary}\n" for word, command in known.items())
    print(_HEAD + lines + _TAIL, end="")
