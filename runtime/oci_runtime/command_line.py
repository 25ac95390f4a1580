"""The command line: options before and after the command's name, in the way of runc and crun; what a command is. No I/O.

argparse costs more than reading a bundle, and knows neither `-b` with two meanings nor options that stop at the container's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.errors import ContainerError, RuntimeFailure
from runtime.light_typing import NamedTuple
from runtime.oci_runtime import record
from runtime.oci_runtime.diagnostics import Diagnostics
from runtime.oci_runtime.record import Record


class UsageError(RuntimeFailure):
    """The command line makes no sense."""


class Option(NamedTuple):
    """One option: `--NAME`, perhaps `-SHORT`, with or without a value."""

    name: str
    short: str = ""
    takes_value: bool = True
    help: str = ""


class Parsed(NamedTuple):
    """Options by name (each with all its values; a flag has an empty one) and what is left."""

    options: dict[str, list[str]]
    words: list[str]

    def flag(self, name: str) -> bool:
        return self.options.get(name, ["false"])[-1] not in ("false", "0")

    def value(self, name: str) -> str | None:
        return self.options[name][-1] if name in self.options else None

    def values(self, name: str) -> list[str]:
        return self.options.get(name, [])

    def number(self, name: str, default: int = 0) -> int:
        text = self.value(name)
        if text is None:
            return default
        if not text.lstrip("-").isdigit():
            raise UsageError(f"`--{name}` takes a number: `{text}`")
        return int(text)

    def one_id(self) -> str:
        """The container that a command is about. Raises UsageError."""
        if len(self.words) != 1:
            raise UsageError("the id of one container is needed" if not self.words else f"too many words: {self.words[1:]}")
        return self.words[0]


class Context(NamedTuple):
    """What every command gets."""

    root: Path
    diagnostics: Diagnostics
    cgroups: bool
    systemd_cgroup: bool

    def container(self, container_id: str, *, not_in: Sequence[str] = ()) -> Record:
        """The container *container_id*. Raises ContainerError when there is none, and when its status is one of *not_in*."""
        container = record.read(self.root, container_id)
        if not_in and (status := container.status()) in not_in:
            raise ContainerError(f"container `{container_id}` is {'not running' if status == record.STOPPED else status}")
        return container


class Command(NamedTuple):
    """What a command takes, and what it does: its exit code."""

    synopsis: str
    options: tuple[Option, ...]
    run: Callable[[Parsed, Context], int]


def parse(arguments: Sequence[str], known: Sequence[Option], *, stop_at_word: bool = False) -> Parsed:
    """Sort *arguments*. With *stop_at_word* the first word ends the options: what follows is another command's line."""
    long = {option.name: option for option in known}
    short = {option.short: option for option in known if option.short}
    options: dict[str, list[str]] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            words += rest
            break
        if argument == "-" or not argument.startswith("-"):
            words.append(argument)
            if stop_at_word:
                words += rest
                break
            continue
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            option = long.get(name)
        else:
            # A single dash with a whole name is what Go's flag package takes, too.
            name, equals, value = argument[1:].partition("=")
            option = short.get(name) or long.get(name)
            if option is None and argument[1] in short:
                option = short[argument[1]]
                if option.takes_value:
                    value, equals = argument[2:], "="
                else:
                    rest.insert(0, f"-{argument[2:]}")
        if option is None:
            raise UsageError(f"unknown option `{argument}`", hint="`--help` lists them")
        if option.takes_value and not equals:
            if not rest:
                raise UsageError(f"`--{option.name}` needs a value")
            value = rest.pop(0)
        options.setdefault(option.name, []).append(value)
    return Parsed(options, words)
