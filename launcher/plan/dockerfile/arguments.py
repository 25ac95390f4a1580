"""What follows an instruction's keyword and flags, as the words that each keyword makes of it."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any, NoReturn

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.document import Form, Instruction
from launcher.plan.dockerfile.expand import is_space
from launcher.plan.dockerfile.logical_lines import heredoc_word, strip, without_leading_space
from runtime.light_dataclasses import dataclass

WHITE_SPACE = re.compile(r"[\t\v\f\r ]+")
"""What separates words where no quotes count. Narrower than Go's idea of white space, as in BuildKit."""

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*\Z")
_COMMAND_LINES = ("CMD", "ENTRYPOINT", "RUN", "SHELL")
_LISTS = ("ADD", "COPY", "VOLUME")
_SEPARATED = ("EXPOSE", "FROM")


@dataclass(frozen=True, slots=True)
class Arguments:
    """Words, how they were written, and what about them is probably not meant."""

    form: Form
    words: tuple[str, ...]
    warning: str | None = None


def read_arguments(keyword: str, text: str, escape: str, origin: Origin) -> Arguments:
    """The words of *text* behind *keyword*, flags already gone. ONBUILD is `parse`'s."""
    if not text:
        raise ConfigError(f"{keyword} needs {_WHAT_IS_NEEDED.get(keyword, 'an argument')}", origin=origin)
    if keyword in _COMMAND_LINES:
        return _command_line(keyword, text, origin)
    if keyword == "HEALTHCHECK":
        return _healthcheck(text, origin)
    if keyword in _LISTS:
        array = _json_array(keyword, text, origin)
        return Arguments("plain", tuple(WHITE_SPACE.split(text))) if array is None else Arguments("exec", array)
    if keyword in ("ENV", "LABEL"):
        return Arguments("plain", _name_values(keyword, text, escape, origin))
    if keyword == "ARG":
        return Arguments("plain", tuple(quoted_words(text, escape)))
    if keyword in _SEPARATED:
        return Arguments("plain", tuple(WHITE_SPACE.split(text)))
    warning = "MAINTAINER is out of use: write `LABEL maintainer=…`" if keyword == "MAINTAINER" else None
    return Arguments("plain", (text,), warning)


_WHAT_IS_NEEDED = {
    "ADD": "a source and a destination",
    "COPY": "a source and a destination",
    "CMD": "a command (`CMD []` for none)",
    "ENTRYPOINT": "a command (`ENTRYPOINT []` for none)",
    "ENV": "`name=value`",
    "FROM": "an image",
    "HEALTHCHECK": "`CMD` and a command, or `NONE`",
    "LABEL": "`name=value`",
    "RUN": "a command",
    "SHELL": 'an array, as in `SHELL ["/bin/bash", "-c"]`',
}


def _command_line(keyword: str, text: str, origin: Origin) -> Arguments:
    array = _json_array(keyword, text, origin)
    if array is not None:
        return Arguments("exec", array)
    warning = None
    if text.startswith("[") and text.endswith("]") and not text.startswith("[["):
        warning = f"{keyword} looks like an array but is not JSON (double quotes, no comma at the end): a shell runs it as it is"
    return Arguments("shell", (text,), warning)


def _healthcheck(text: str, origin: Origin) -> Arguments:
    end = next((index for index, char in enumerate(text) if is_space(char)), len(text))
    kind, rest = text[:end].upper(), without_leading_space(text[end:])
    if kind == "NONE" and not rest:
        return Arguments("plain", ("NONE",))
    if kind == "NONE":
        raise ConfigError("HEALTHCHECK NONE takes no arguments", origin=origin)
    if kind != "CMD":
        raise ConfigError(f"HEALTHCHECK is `NONE` or `CMD` and a command, not `{text[:end]}`", origin=origin)
    if not rest:
        raise ConfigError("HEALTHCHECK CMD needs a command", origin=origin)
    command = _command_line("HEALTHCHECK CMD", rest, origin)
    return Arguments(command.form, ("CMD", *command.words), command.warning)


def _json_array(keyword: str, text: str, origin: Origin) -> tuple[str, ...] | None:
    """*text* as a JSON array of strings; None when it is not JSON, which makes it a command line or plain words."""
    if not text.startswith("["):
        return None
    try:
        array: Any = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(one, str) for one in array):
        raise ConfigError(
            f"the array of {keyword} holds something other than strings", origin=origin, hint="put it into double quotes"
        )
    return tuple(one.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for one in array)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is Python's JSON, not JSON")


def _name_values(keyword: str, text: str, escape: str, origin: Origin) -> tuple[str, ...]:
    """`name=value …`, or the old `name value with spaces`."""
    words = quoted_words(text, escape)
    if words and "=" not in words[0]:
        name, *value = WHITE_SPACE.split(text, maxsplit=1)
        if not value:
            raise ConfigError(f"{keyword} gives `{name}` no value", origin=origin, hint=f"write `{keyword} {name}=…`")
        return (f"{name}={value[0]}",)
    for word in words:
        if "=" not in word:
            raise ConfigError(
                f"`{word}` of {keyword} is not `name=value`", origin=origin, hint="put a value with spaces in double quotes"
            )
    return tuple(words)


def quoted_words(text: str, escape: str) -> list[str]:
    """The words of *text* between white space that neither quotes nor the escape character hold; both stay in them."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    chars = iter(text)
    for char in chars:
        if not quote and is_space(char):
            if word:
                words.append("".join(word))
            word = []
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape and quote != "'":
            following = next(chars, "")
            word += [char, following] if following else []
            continue
        word.append(char)
    return [*words, "".join(word)] if word else words


def check_instruction(instruction: Instruction) -> None:
    """Refuse what the keyword does not allow, whatever its variables hold."""
    check = _CHECKS.get(instruction.keyword)
    if check is not None:
        check(instruction)


def _check_copy(instruction: Instruction) -> None:
    if len(instruction.words) < 2:
        raise ConfigError(f"{instruction.keyword} needs a source and a destination", origin=instruction.origin)
    if instruction.form != "exec" and heredoc_word(instruction.words[-1]):
        raise ConfigError(f"the destination of {instruction.keyword} cannot be a heredoc", origin=instruction.origin)


def _check_from(instruction: Instruction) -> None:
    words = instruction.words
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise ConfigError("FROM is an image, or an image `AS` a name", origin=instruction.origin)
    if len(words) == 3 and not _STAGE_NAME.match(words[2].lower()):
        raise ConfigError(
            f"`{words[2]}` cannot be the name of a stage",
            origin=instruction.origin,
            hint="a letter, then letters, digits, `-`, `_` and `.`",
        )


def _check_names(instruction: Instruction) -> None:
    if any(word.startswith("=") for word in instruction.words):
        raise ConfigError(f"a name of {instruction.keyword} is empty", origin=instruction.origin)


def _check_array(instruction: Instruction) -> None:
    if instruction.form != "exec" or not instruction.words:
        raise ConfigError(f"SHELL needs {_WHAT_IS_NEEDED['SHELL']}", origin=instruction.origin)


def _check_run(instruction: Instruction) -> None:
    if not instruction.words:
        raise ConfigError("RUN needs a command", origin=instruction.origin)


def _check_volume(instruction: Instruction) -> None:
    if not instruction.words or any(not strip(word) for word in instruction.words):
        raise ConfigError("VOLUME needs a path that is not empty", origin=instruction.origin)


def _check_healthcheck(instruction: Instruction) -> None:
    if instruction.words == ("NONE",) and instruction.flags:
        raise ConfigError("HEALTHCHECK NONE takes no flags", origin=instruction.origin)
    for name, value in instruction.flags:
        if name == "retries":
            if not (value or "").isdecimal():
                raise ConfigError(f"`--retries` is a number, not `{value}`", origin=instruction.origin)
            continue
        try:
            duration = nanoseconds(value or "")
        except DurationError as error:
            raise ConfigError(
                f"`--{name}={value}` is not a duration: {error}", origin=instruction.origin, hint="as in `1m30s`"
            ) from error
        if duration and duration < 1_000_000:
            raise ConfigError(f"`--{name}={value}` is less than a millisecond", origin=instruction.origin)


_CHECKS = {
    "ADD": _check_copy,
    "ARG": _check_names,
    "COPY": _check_copy,
    "ENV": _check_names,
    "FROM": _check_from,
    "HEALTHCHECK": _check_healthcheck,
    "LABEL": _check_names,
    "RUN": _check_run,
    "SHELL": _check_array,
    "VOLUME": _check_volume,
}


_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 2**63 - 1


class DurationError(ValueError):
    """Not a time that Go reads."""


def nanoseconds(text: str) -> int:
    """A time as Go writes it (`1m30s`, `1.5h`, `300ms`), in nanoseconds, as an image's configuration has it. Raises
    DurationError."""
    sign, unsigned = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if unsigned == "0":
        return 0
    at, total = 0, 0
    while at < len(unsigned) or not unsigned:
        part = _PART.match(unsigned, at)
        if part is None:
            raise DurationError("it is numbers with a unit each: h, m, s, ms, us, ns")
        total += int(Fraction(part[1].rstrip(".")) * _UNITS[part[2]])
        at = part.end()
    if total > _LONGEST:
        raise DurationError("it is too long")
    return sign * total
