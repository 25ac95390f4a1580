"""Entry point of `launch`: find the command, do it; a failure is shown once (`failures.py`). `launch --help`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from launcher.cli.command import Command, has_debug
from launcher.cli.failures import failures_shown
from launcher.errors import ConfigError

_FILES = ("experiments", "runs", "running", "images", "machine")
"""In `launcher.cli.commands`, in the order of the help."""

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


def main() -> None:
    """Console script `launch`."""
    _have_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _have_standard_streams() -> None:
    """Started with a closed stdin, stdout or stderr: the next file that is opened would get its number, and our words with it."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null_fd = os.open(os.devnull, os.O_RDWR)
            if null_fd == fd:
                os.set_inheritable(fd, True)
            else:
                os.dup2(null_fd, fd)
                os.close(null_fd)
            setattr(sys, name, os.fdopen(fd, mode, encoding="utf-8", closefd=False))


def run(typed: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; prints failures, never a traceback for what a user can cause."""
    if typed and typed[0] in ("-h", "--help", "help"):
        return _print_help()
    if typed and typed[0] == "--version":
        from launcher.version import VERSION

        print(f"launch {VERSION}")
        return 0
    with failures_shown(debug=has_debug(typed)) as ending:
        command, rest = find_command(typed)
        ending.code = command.function(command.parse(rest) if command.parses else rest)
        sys.stdout.flush()
    return ending.code


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


def _print_help() -> int:
    known = commands()
    width = max(map(len, known))
    lines = "".join(f"  {word:<{width}}  {command.summary}\n" for word, command in known.items())
    print(_HEAD + lines + _TAIL, end="")
    return 0


if __name__ == "__main__":
    main()
