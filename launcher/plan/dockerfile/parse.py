"""Parse a Dockerfile as BuildKit does (`frontend/dockerfile/{parser,instructions}`): nothing is expanded, nothing is skipped.

Where BuildKit lets something pass that cannot be meant (a flag of ARG, RUN without a command), it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.arguments import WHITE_SPACE, check_instruction, read_arguments
from launcher.plan.dockerfile.document import Dockerfile, Heredoc, Instruction, ParseWarning, Stage
from launcher.plan.dockerfile.flags import checked_flags, split_flags
from launcher.plan.dockerfile.heredoc import heredoc_words
from launcher.plan.dockerfile.logical_lines import LogicalLine, LogicalLines, stripped
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
    text = stripped(line.text)
    instruction, holder = _read(text, line.number, lines.escape, origin, warnings)
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


def _read(text: str, number: int, escape: str, origin: Origin, warnings: list[ParseWarning]) -> tuple[Instruction, Instruction]:
    """One instruction without its heredocs, and the one that heredocs belong to: the trigger in the case of ONBUILD."""
    written, *rest = WHITE_SPACE.split(text, maxsplit=1)
    keyword = written.upper()
    if keyword not in _KEYWORDS:
        raise _unknown(written, origin)
    flag_words, arguments = split_flags(rest[0] if rest else "", escape)
    arguments = stripped(arguments)
    flags = checked_flags(keyword, flag_words, origin)
    if keyword == "ONBUILD":
        if not arguments:
            raise ConfigError("ONBUILD needs an instruction", origin=origin)
        trigger, _ = _read(arguments, number, escape, origin, warnings)
        if trigger.keyword in _NO_TRIGGERS:
            raise _no_trigger(trigger.keyword, origin)
        return Instruction(keyword, flags, "plain", (arguments,), text, (), number, origin), trigger
    read = read_arguments(keyword, arguments, escape, origin)
    if read.warning is not None:
        warnings.append(ParseWarning(read.warning, origin))
    instruction = Instruction(keyword, flags, read.form, read.words, text, (), number, origin)
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
            line=written.line,
            instructions=tuple(instructions[begin + 1 : end]),
            origin=written.origin,
            text=written.text,
        )


def _no_trigger(keyword: str, origin: Origin) -> ConfigError:
    return ConfigError(f"{keyword} cannot be what ONBUILD keeps", origin=origin)


def _unknown(written: str, origin: Origin) -> ConfigError:
    return ConfigError(f"there is no instruction `{written}`", origin=origin, hint=did_you_mean(written.upper(), _KEYWORDS))
