"""What a command of `launch` is: a declaration (its words, its arguments, what completes them) and the function that does it.

    @Command("outputs", "print the directory of a run's outputs", "Print the directory of a run's outputs.", RUN, usage="RUN")
    def outputs(options: Options) -> int:
        …

`launch --help`, `launch outputs --help`, completion, docs/reference/command-line.md and "did you mean" are all made from that.
The files in `launcher/cli/commands` hold nothing else, so that all of them can be imported in a few milliseconds; what a command
needs is imported in its function. A noun has actions, commands too: `@images.action("show", …)` is `launch images show`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NoReturn

from launcher.errors import ConfigError

Options = argparse.Namespace


class Argument:
    """An option or a positional argument; *settings* are those of `ArgumentParser.add_argument`.

    *completed_by*: "runs", "sweeps", "images", "experiments", "shells", whose names may stand there; "keys" of the
    configuration.
    """

    __slots__ = ("completed_by", "names", "settings")

    def __init__(self, *names: str, completed_by: Sequence[str] = (), **settings: Any) -> None:
        self.names, self.completed_by, self.settings = names, completed_by, settings

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        parser.add_argument(*self.names, **self.settings)


class Group:
    """Options under a title of their own in the help; without a title: of which only one may be given."""

    __slots__ = ("arguments", "completed_by", "title")

    def __init__(self, *arguments: Argument, title: str | None = None) -> None:
        self.arguments, self.title = arguments, title
        self.completed_by: Sequence[str] = ()

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        group = parser.add_mutually_exclusive_group() if self.title is None else parser.add_argument_group(self.title)
        for argument in self.arguments:
            argument.add_to(group)


def switch(*names: str, help: str) -> Argument:
    """An option without a value."""
    return Argument(*names, action="store_true", help=help)


class Command:
    """Declares the function below it as `launch WORDS`.

    *summary* is its line in `launch --help`; *description*, *usage* and *epilog* stand in its own. *takes_command*: what stands
    behind `--` is a command for a container. *rewrite* is done to the words before they are parsed. One that *parses* not has a
    command line of its own: its function gets the words. One that *needs_terminal* asks there, or hands it to a program. One that
    not *is_typed* is for programs: `launch --help` and completion leave it out.
    """

    function: Callable[[Any], int]
    """Does the command with its options; returns the exit code."""

    def __init__(
        self,
        words: str,
        summary: str,
        description: str = "",
        *arguments: Argument | Group,
        usage: str = "",
        epilog: str | None = None,
        takes_command: bool = False,
        rewrite: Callable[[Sequence[str]], Sequence[str]] | None = None,
        parses: bool = True,
        needs_terminal: bool = False,
        is_typed: bool = True,
    ) -> None:
        self.words, self.summary, self.description, self.arguments = words, summary, description, arguments
        self.usage, self.epilog, self.parses = usage, epilog, parses
        self.takes_command, self.rewrite, self.needs_terminal = takes_command, rewrite, needs_terminal
        self.is_typed = is_typed
        self.actions: dict[str, Command] = {}

    def __call__(self, function: Callable[[Any], int]) -> Command:
        self.function = function
        return self

    def action(self, word: str, *texts: Any, **settings: Any) -> Command:
        """Declares `launch WORDS WORD`; takes what `Command` takes."""
        self.actions[word] = Command(f"{self.words} {word}", *texts, **settings)
        return self.actions[word]

    def add(self, word: str, summary: str, other: Command) -> None:
        """Has *other* as an action, too."""
        twin = copy(other)
        twin.words, twin.summary = f"{self.words} {word}", summary
        self.actions[word] = twin

    def parse(self, typed: Sequence[str]) -> Options:
        """The options, wherever they stand; as `command` what stands behind `--` (None without it). Raises ConfigError."""
        before, command = split_command(typed) if self.takes_command else (typed, None)
        parser = _Parser(self)
        for argument in self.arguments:
            argument.add_to(parser)
        for word, default, text in (
            (("--verbose", "-v"), is_set("LAUNCH_VERBOSE"), "say more about what is done"),
            (("--debug",), is_set("LAUNCH_DEBUG"), "show tracebacks of expected failures too"),
        ):
            parser.add_argument(*word, action="store_true", default=default, help=text)
        options = parser.parse_intermixed_args(list(self.rewrite(before) if self.rewrite else before))
        options.command = command
        return options

    def wrong_usage(self, message: str) -> ConfigError:
        """The refusal of options that don't go together."""
        return ConfigError(message, hint=f"`launch {self.words} --help` shows what it takes")


def split_command(typed: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """What stands before `--`, and what behind it; None without `--`."""
    words = list(typed)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], tuple(words[at + 1 :])


def has_debug(typed: Sequence[str]) -> bool:
    """Whether tracebacks are asked for. Looked up in the words themselves: what fails may be their parsing."""
    return "--debug" in split_command(typed)[0] or is_set("LAUNCH_DEBUG")


def is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in the words of Python 3.13 (`-f, --file FILE`), whichever Python prints it: the page made of it is one page."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: exit 2 with a hint, as for every wrong command line."""

    def __init__(self, command: Command) -> None:
        self._command = command
        super().__init__(
            prog=f"launch {command.words}",
            description=command.description,
            usage=f"launch {command.words} {command.usage}".rstrip(),
            epilog=_actions(command) if command.actions else command.epilog,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def error(self, message: str) -> NoReturn:
        refusal = self._command.wrong_usage(message)
        refusal.hint = self._what_was_meant(message) or refusal.hint
        raise refusal

    def _what_was_meant(self, message: str) -> str | None:
        """The known option that the first unknown one of *message* is near to."""
        # `-multirun` is `-m` with the value `ultirun` for argparse.
        dashes = re.match(r"argument \S*?(--[\w-]+): ignored explicit argument", message)
        if dashes is not None:
            return f"did you mean `{dashes[1]}`?"
        unknown = re.match(r"unrecognized arguments: .*?(?<!\S)(--?[\w-]+)", message)
        if unknown is None:
            return None
        from runtime.suggestions import did_you_mean

        known = [option for option in self._option_string_actions if option.startswith("--")]
        if self._command.words == "run":
            known += ["--version"]
        return did_you_mean("--" + unknown[1].lstrip("-"), known, cutoff=0.7)


def _actions(noun: Command) -> str:
    """The actions of *noun* for its `--help`."""
    lines = [f"  {word:<9} {action.summary}" for word, action in noun.actions.items()]
    return "\n".join([f"actions (`launch {noun.words} ACTION --help` shows what one takes):", *lines])
