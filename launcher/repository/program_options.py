"""The options of a program, read from its calls of `add_argument`, as `params` of an experiment: what a sweep can vary.

An option becomes a parameter where it takes one value and that is known: its default, or what the command says. What is left to
the command as it stands: flags, positional arguments, options of subcommands or of which one excludes the other, and those whose
default has to be worked out.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from launcher.repository.source_tree import SourceTree, calls, dotted, literal
from launcher.repository.start_commands import StartCommand, is_placeholder

Value = int | float | str

_MOST = 24
_OF_RANKS = re.compile(r"(?:local[_-])?rank|world[_-]size|master[_-](?:addr|port)|dist[_-](?:url|backend)|nproc\w*|nodes?")
_READS_OPTIONS = re.compile(r"opt|arg|conf|cfg|flag|param|parse")
_KINDS = {"int": int, "float": float, "str": str}
_CHOICES_NAMED = 6


class Option(NamedTuple):
    """`--lr`, `-l` of the program."""

    flags: tuple[str, ...]
    default: Value | None
    """None: it has none, or one that has to be worked out."""
    takes_one: bool
    """Whether it is one value that it takes; a flag takes none."""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The longest of its names, which tells most."""
        return max(self.flags, key=len)

    @property
    def name(self) -> str:
        """As a parameter: `batch_size`."""
        return re.sub(r"\W+", "_", self.flag.lstrip("-"))

    @property
    def can_be_varied(self) -> bool:
        return self.takes_one and re.match(r"[A-Za-z]", self.name) is not None and _OF_RANKS.fullmatch(self.name) is None


class Param(NamedTuple):
    """A parameter of the experiment."""

    name: str
    value: Value
    choices: tuple[str, ...] = ()

    @property
    def is_seed(self) -> bool:
        """Whether it is the run's own `seed`, which `sweep.seeds` varies."""
        return self.name == "seed" and isinstance(self.value, int) and self.value >= 0

    @property
    def reference(self) -> str:
        return "${seed}" if self.is_seed else f"${{params.{self.name}}}"


class Parameters(NamedTuple):
    """The command's words with references to *params*, and the flags of options that are none."""

    words: tuple[str, ...]
    params: tuple[Param, ...] = ()
    left: tuple[str, ...] = ()


def find_parameters(tree: SourceTree, files: Sequence[str], command: StartCommand | None) -> Parameters:
    """What of *command* can be varied: the options of its script, or of one of the *files* it reaches that is made for them."""
    if command is None:
        return Parameters(())
    readers = (path for path in files if path == command.script or _READS_OPTIONS.search(os.path.basename(path)))
    own = next((found for path in readers if (found := _options_in(tree, path))), ())
    start = _where_arguments_begin(command)
    if not own or start is None or "--" in command.words:
        return Parameters(tuple(map(_escape, command.words)))
    words, said = _with_references(command.words[start:], {flag: option for option in own for flag in option.flags})
    defaults = [
        (option.flag, Param(option.name, default, option.choices))
        for option in own
        if option.name not in said and option.can_be_varied and (default := option.default) is not None
    ]
    params = said | {param.name: param for _, param in defaults[:_MOST]}
    words += [f"{flag}={param.reference}" for flag, param in defaults[:_MOST]]
    return Parameters(
        (*map(_escape, command.words[:start]), *words),
        tuple(params[option.name] for option in own if option.name in params),
        tuple(option.flag for option in own if option.name not in params),
    )


def _options_in(tree: SourceTree, path: str) -> tuple[Option, ...]:
    parsed = tree.module(path)
    made = [] if parsed is None else sorted(calls(parsed), key=lambda call: call.lineno)
    names = {dotted(call.func).rpartition(".")[2] for call in made}
    if parsed is None or "add_argument" not in names or "add_subparsers" in names:
        return ()
    exclusive = set(_exclusive_groups(parsed))
    overruled = {keyword.arg for call in made if dotted(call.func).endswith(".set_defaults") for keyword in call.keywords}
    found: dict[str, Option] = {}
    for call in made:
        group, _, method = dotted(call.func).rpartition(".")
        option = _option(call) if method == "add_argument" and group not in exclusive else None
        if option is not None and option.name not in overruled:
            found.setdefault(option.name, option)
    return tuple(found.values())


def _exclusive_groups(parsed: ast.Module) -> Iterator[str]:
    """Names of variables that hold a group of which one option excludes the other."""
    for node in ast.walk(parsed):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        if dotted(node.value.func).endswith(".add_mutually_exclusive_group") and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id


def _option(call: ast.Call) -> Option | None:
    flags = tuple(value for argument in call.args if isinstance(value := literal(argument), str))
    if not flags or not all(flag.startswith("-") for flag in flags):
        return None
    said = {keyword.arg: keyword.value for keyword in call.keywords}
    stores = "action" not in said or literal(said["action"]) == "store"
    is_single = "nargs" not in said or literal(said["nargs"]) == "?"
    choices = literal(said.get("choices"))
    return Option(
        flags,
        _default(literal(said.get("default")), dotted(said["type"]) if "type" in said else "str"),
        stores and is_single,
        tuple(map(str, choices[:_CHOICES_NAMED])) if isinstance(choices, list | tuple) else (),
    )


def _default(default: object, kind: str) -> Value | None:
    """*default*, if the program gets the very same from its text; a number without `type=` would become one."""
    if kind == "float" and type(default) is int:
        return float(default)
    if type(default) is _KINDS.get(kind) and isinstance(default, int | float | str) and "$" not in str(default):
        return default if default != "" else None
    return None


def _where_arguments_begin(command: StartCommand) -> int | None:
    """The place in its words after the program."""
    for at, word in enumerate(command.words):
        if word.endswith(".py"):
            return at + 1
        if word == "-m" and not command.words[at + 1].startswith(("torch.distributed", "accelerate")):
            return at + 2
    return None


def _with_references(words: Sequence[str], known: dict[str, Option]) -> tuple[list[str], dict[str, Param]]:
    """*words* with a reference for each value that one of the *known* options has there, and those parameters."""
    result: list[str] = []
    params: dict[str, Param] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        flag, is_joined, text = word.partition("=")
        option = known.get(flag)
        if option is None or not option.can_be_varied or (not is_joined and not waiting):
            result.append(_escape(word))
            continue
        value = text if is_joined else waiting.pop(0)
        if is_placeholder(value):
            result += [_escape(each) for each in ((word,) if is_joined else (word, value))]
            continue
        params[option.name] = Param(option.name, _value(value), option.choices)
        result.append(f"{flag}={params[option.name].reference}")
    return result, params


def _value(text: str) -> Value:
    """A number, where that says the same."""
    if re.fullmatch(r"-?(?:0|[1-9]\d*)", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d*\.?\d+(?:[eE][-+]?\d+)?", text) and not text.isdigit() else text


def _escape(word: str) -> str:
    """*word* as it is, where a reference would be looked for."""
    return word.replace("${", "\\${")
