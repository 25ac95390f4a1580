"""Parse a Dockerfile as BuildKit does (`frontend/dockerfile/{parser,instructions}`): nothing is expanded, nothing is skipped.

Where BuildKit lets something pass that cannot be meant (a flag of ARG, RUN without a command), it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.arguments import WHITE_SPACE, check_instruction, read_arguments
from launcher.plan.dockerfile.document import Dockerfile, Heredoc, Instruction, ParseWarning, Stage
from launcher.plan.dockerfile.expand import is_space
from launcher.plan.dockerfile.logical_lines import LogicalLine, LogicalLines, heredoc_words, strip
from runtime.light_dataclasses import replace
from runtime.suggestions import did_you_mean

_KEYWORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD"),
    *("RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
_NO_TRIGGERS = ("ONBUILD", "MAINTAINER", "FROM")


def parse(text: str, *, path: str) -> Dockerfile:
    """The Dockerfile *text*; *path* is what errors call it. Raises ConfigError with the line."""
    lines = LogicalLines(text, path=path)
    warnings: list[ParseWarning] = []
    instructions = [_instruction(lines, line, warnings) for line in lines]
    first = next((index for index, one in enumerate(instructions) if one.keyword == "FROM"), len(instructions))
    for early in instructions[:first]:
        if early.keyword != "ARG":
            raise ConfigError(
                f"{early.keyword} stands before the first FROM",
                origin=early.origin,
                hint="only ARG may: begin a stage with FROM first",
            )
    if first == len(instructions):
        raise ConfigError("there is no FROM, so nothing can be built", origin=Origin(file=path))
    return Dockerfile(
        directives=tuple(lines.directives.items()),
        global_args=tuple(instructions[:first]),
        stages=tuple(_stages(instructions[first:])),
        escape=lines.escape,
        warnings=tuple(warnings),
    )


def parse_trigger(text: str, *, origin: Origin) -> Instruction:
    """The instruction that an image keeps for builds upon it (`OnBuild` of its configuration); errors stand at *origin*."""
    lines = LogicalLines(text, path="ONBUILD", everything_at=origin)
    first = next(iter(lines), None)
    if first is None:
        raise ConfigError("a trigger of ONBUILD is empty", origin=origin)
    instruction = _instruction(lines, first, [])
    if instruction.keyword in _NO_TRIGGERS:
        raise _no_trigger(instruction.keyword, origin)
    return instruction


def _instruction(lines: LogicalLines, line: LogicalLine, warnings: list[ParseWarning]) -> Instruction:
    origin = lines.origin(line.number)
    if line.empty_continuation is not None:
        warnings.append(ParseWarning("an empty line inside a continued instruction", lines.origin(line.empty_continuation)))
    text = strip(line.text)
    instruction, holder = _read(text, lines.escape, origin, warnings)
    if holder.keyword not in _WITH_HEREDOCS or holder.form == "exec" or "<<" not in text:
        return instruction
    heredocs = tuple(
        Heredoc(word.name, lines.heredoc_content(word.name, chomp=word.chomp, begun_at=line.number), word.expand, word.chomp)
        for word in heredoc_words(text)
    )
    if instruction is not holder:  # the image's configuration keeps a trigger as one text
        whole = "".join([instruction.words[0], *(f"\n{heredoc.content}{heredoc.name}" for heredoc in heredocs)])
        instruction = replace(instruction, words=(whole,))
    return replace(instruction, heredocs=heredocs)


def _read(text: str, escape: str, origin: Origin, warnings: list[ParseWarning]) -> tuple[Instruction, Instruction]:
    """One instruction without its heredocs, and the one that heredocs belong to: the trigger in the case of ONBUILD."""
    written, *rest = WHITE_SPACE.split(text, maxsplit=1)
    keyword = written.upper()
    if keyword not in _KEYWORDS:
        raise ConfigError(f"there is no instruction `{written}`", origin=origin, hint=did_you_mean(keyword, _KEYWORDS))
    flag_words, arguments = split_flags(rest[0] if rest else "", escape)
    arguments = strip(arguments)
    flags = check_flags(keyword, flag_words, origin)
    if keyword == "ONBUILD":
        if not arguments:
            raise ConfigError("ONBUILD needs an instruction", origin=origin)
        trigger, _ = _read(arguments, escape, origin, warnings)
        if trigger.keyword in _NO_TRIGGERS:
            raise _no_trigger(trigger.keyword, origin)
        return Instruction(keyword, flags, "plain", (arguments,), text, (), origin), trigger
    read = read_arguments(keyword, arguments, escape, origin)
    if read.warning is not None:
        warnings.append(ParseWarning(read.warning, origin))
    instruction = Instruction(keyword, flags, read.form, read.words, text, (), origin)
    check_instruction(instruction)
    return instruction, instruction


def _stages(instructions: Sequence[Instruction]) -> Iterator[Stage]:
    """Stages of *instructions*, the first of which is a FROM."""
    begins = [index for index, one in enumerate(instructions) if one.keyword == "FROM"]
    for begin, end in zip(begins, [*begins[1:], len(instructions)], strict=True):
        written = instructions[begin]
        yield Stage(
            base=written.words[0],
            name=written.words[2].lower() if len(written.words) == 3 else None,
            platform=written.flag("platform"),
            instructions=tuple(instructions[begin + 1 : end]),
            origin=written.origin,
            text=written.text,
        )


def _no_trigger(keyword: str, origin: Origin) -> ConfigError:
    return ConfigError(f"{keyword} cannot be what ONBUILD keeps", origin=origin)


_Kind = Literal["on-off", "once", "many"]

_FLAGS: dict[str, dict[str, _Kind]] = {
    "ADD": {
        "chown": "once",
        "chmod": "once",
        "link": "on-off",
        "keep-git-dir": "on-off",
        "checksum": "once",
        "unpack": "on-off",
        "exclude": "many",
    },
    "COPY": {"chown": "once", "from": "once", "chmod": "once", "link": "on-off", "exclude": "many", "parents": "on-off"},
    "FROM": {"platform": "once"},
    "HEALTHCHECK": {"interval": "once", "timeout": "once", "start-period": "once", "start-interval": "once", "retries": "once"},
    "RUN": {"mount": "many", "network": "once", "security": "once", "device": "many"},
}

_VALUES = {("RUN", "network"): ("default", "none", "host"), ("RUN", "security"): ("sandbox", "insecure")}


def split_flags(rest: str, escape: str) -> tuple[list[str], str]:
    """The words at the beginning of *rest* that begin with `--`, quotes removed, and what follows them."""
    words: list[str] = []
    at = 0
    while True:
        while at < len(rest) and is_space(rest[at]):
            at += 1
        if not rest.startswith("--", at):
            return words, rest[at:]
        word, at = _flag(rest, at, escape)
        if word == "--":
            return words, rest[at:]
        words.append(word)


def _flag(rest: str, at: int, escape: str) -> tuple[str, int]:
    """The word that begins at *at*, and where it ends. Unlike a shell's, its single quotes know the escape character."""
    word: list[str] = []
    quote = ""
    while at < len(rest):
        char = rest[at]
        if not quote and is_space(char):
            break
        at += 1
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char != escape:
            word.append(char)
        elif at < len(rest):
            word.append(rest[at])
            at += 1
    return "".join(word), at


def check_flags(keyword: str, words: Sequence[str], origin: Origin) -> tuple[tuple[str, str | None], ...]:
    """*words* as (name, value), each known to *keyword*."""
    known = _FLAGS.get(keyword, {})
    flags: list[tuple[str, str | None]] = []
    for word in words:
        name, equals, value = word[2:].partition("=")
        if name not in known:
            raise ConfigError(f"{keyword} has no flag `--{name}`", origin=origin, hint=_near_flag(name, known))
        if known[name] != "many" and any(name == earlier for earlier, _ in flags):
            raise ConfigError(f"the flag `--{name}` of {keyword} stands twice", origin=origin)
        if (equals and not value and known[name] == "on-off") or (not equals and known[name] != "on-off"):
            raise ConfigError(f"the flag `--{name}` of {keyword} needs a value", origin=origin, hint=f"write `--{name}=…`")
        allowed = ("true", "false") if known[name] == "on-off" and equals else _VALUES.get((keyword, name))
        if allowed and (value.lower() if known[name] == "on-off" else value) not in allowed:
            either = " or ".join(f"`{one}`" for one in allowed)
            raise ConfigError(f"the flag `--{name}` of {keyword} is {either}, not `{value}`", origin=origin)
        flags.append((name, value if equals else None))
    return tuple(flags)


def _near_flag(name: str, known: dict[str, _Kind]) -> str:
    hint = did_you_mean(name.lower(), known, prefix="--")
    if hint is not None:
        return hint
    if known:
        return f"it knows {', '.join(f'`--{flag}`' for flag in known)}"
    return "it has no flags; what follows a `--` is taken as it is"
