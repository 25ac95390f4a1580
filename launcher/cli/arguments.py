"""Options that several commands share, and the split of a command line into options, overrides and `-- COMMAND`.

argparse does the options; whatever has the form of an override (`key=value`, `+key=value`, `~key`) goes to Hydra untouched.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from launcher.errors import ConfigError

RUN = "a short prefix, a name, @last, @last~1 or an MLflow run id"
"""What RUN may be, for `--help`."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in the words of Python 3.13 (`-f, --file FILE`), whichever Python prints it: the page made of it is one page."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: exit 2 with a hint, as every wrong command line."""

    def __init__(self, command: str, description: str, *, usage: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"launch {command}",
            description=description,
            usage=f"launch {command} {usage}".rstrip(),
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, hint=self._what_was_meant(message) or f"`{self.prog} --help` shows what it takes")

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
        if self.prog == "launch run":
            known += ["--version"]
        return did_you_mean("--" + unknown[1].lstrip("-"), known, cutoff=0.7)


@dataclass(frozen=True, slots=True)
class Request:
    """What names an experiment on a command line."""

    overrides: tuple[str, ...]
    requirements: tuple[str, ...]
    command: tuple[str, ...] | None
    config_dir: Path | None


def add_experiment_options(parser: Parser) -> None:
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="overrides in Hydra's grammar; `experiment=NAME` chooses the experiment"
    )
    parser.add_argument(
        "--with",
        dest="requirements",
        action="append",
        default=[],
        metavar="REQ",
        help="add a requirement (repeatable): --with 'humanize>=4'",
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory in front of the configuration search path")
    add_debug_options(parser)


def add_debug_options(parser: Parser) -> None:
    parser.add_argument("--verbose", "-v", action="store_true", help="say more about what is done")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of expected failures too")


def add_node_option(parser: Parser) -> None:
    parser.add_argument("--node", type=int, default=0, metavar="K", help="of a run on several nodes: which one; the first is 0")


def split_command(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """The arguments before `--`, and the command after it (None without `--`)."""
    if "--" not in arguments:
        return list(arguments), None
    at = list(arguments).index("--")
    command = tuple(arguments[at + 1 :])
    if not command:
        raise ConfigError("no command after `--`", hint="write it as `launch experiment=NAME -- python3 other.py`")
    return list(arguments[:at]), command


def parse(parser: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, Request]:
    """Parse options and overrides in any order."""
    before, command = split_command(arguments)
    options = parser.parse_intermixed_args(before)
    apply_debug(options)
    request = Request(tuple(options.overrides), tuple(options.requirements), command, options.config_dir)
    if not any(override.lstrip("+").startswith("experiment=") for override in request.overrides):
        raise ConfigError("no experiment was chosen", hint=_experiment_meant(request.overrides))
    return options, request


def _experiment_meant(overrides: Sequence[str]) -> str:
    """A mistyped `experiment=`, if one of *overrides* looks like it."""
    from runtime.suggestions import closest

    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and closest(key.lstrip("+"), ["experiment"], cutoff=0.7):
            return f"did you mean `experiment={value}`?"
    return "name one: `launch experiment=digits`; `launch list` shows them all"


def apply_debug(options: argparse.Namespace) -> None:
    if options.debug:
        os.environ["LAUNCH_DEBUG"] = "1"
    if options.verbose:
        os.environ["LAUNCH_VERBOSE"] = "1"


def verbose() -> bool:
    return os.environ.get("LAUNCH_VERBOSE", "") not in ("", "0")
