"""A Dockerfile as it was written: stages, instructions and their words, none of them expanded yet.

`parse` makes it. What the words mean (variables, paths, mounts) is the translator's business.
"""

from __future__ import annotations

import re
from typing import Literal

from launcher.errors import Origin
from runtime.light_dataclasses import dataclass

Form = Literal["exec", "shell", "plain"]

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One `<<NAME` of an instruction with the lines that follow it."""

    name: str
    content: str
    """Every line with its line end, tabs included: what a shell is given again. A file gets `text`."""
    expand: bool
    """Variables count in it: no part of the name was quoted."""
    chomp: bool
    """It was written `<<-NAME`: tabs that begin a line do not count."""

    @property
    def text(self) -> str:
        """The content as a file of it holds it."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    `words` by keyword:
    RUN, CMD, ENTRYPOINT, SHELL   exec form: the array; shell form: one word, the command line (`<<EOF` still in it)
    COPY, ADD                     the sources, then the destination; a heredoc stays as the word `<<EOF` (`heredoc.heredoc_word`)
    ENV, LABEL                    `name=value` each, quotes still there; see `pairs`
    ARG                           `name` or `name=value` each
    HEALTHCHECK                   `NONE`, or `CMD` and then as CMD has it
    ONBUILD                       one word: the trigger as an image's configuration keeps it
    others                        words between white space (EXPOSE, VOLUME, FROM), or one (USER, WORKDIR, STOPSIGNAL, MAINTAINER)
    """

    keyword: str
    """In capitals."""
    flags: tuple[tuple[str, str | None], ...]
    """(`from`, `build`) for `--from=build`, (`link`, None) for `--link`: in order, known to the keyword, quotes removed."""
    form: Form
    """`exec` is a JSON array (VOLUME, COPY and ADD too); `shell` a command line for the shell; `plain` everything else."""
    words: tuple[str, ...]
    text: str
    """The whole instruction on one line: continuations joined, comments gone, heredocs not in it."""
    heredocs: tuple[Heredoc, ...]
    origin: Origin

    def flag(self, name: str) -> str | None:
        """The value of `--name=…`; None when it is not there (or has no value: see `has_flag`)."""
        return next((value for known, value in self.flags if known == name), None)

    def flag_values(self, name: str) -> tuple[str, ...]:
        """Every value of a flag that may be repeated."""
        return tuple(value for known, value in self.flags if known == name and value is not None)

    def has_flag(self, name: str) -> bool:
        """A flag that is on or off: there, and not `--name=false`."""
        return any(known == name and (value or "true").lower() != "false" for known, value in self.flags)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(name, value) of ENV and LABEL."""
        return tuple((word.partition("=")[0], word.partition("=")[2]) for word in self.words)

    def arguments(self) -> tuple[tuple[str, str | None], ...]:
        """(name, default) of ARG; None: without a default."""
        return tuple((word.partition("=")[0], word.partition("=")[2] if "=" in word else None) for word in self.words)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one FROM begins."""

    base: str
    """As written: an image, `scratch`, an earlier stage's name, with `$NAME` in it."""
    name: str | None
    """In small letters."""
    platform: str | None
    instructions: tuple[Instruction, ...]
    origin: Origin
    text: str = ""
    """The FROM line."""


@dataclass(frozen=True, slots=True)
class ParseWarning:
    """Something that works and is probably not meant."""

    message: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    directives: tuple[tuple[str, str], ...]
    """`syntax`, `escape`, `check` as far as they are there."""
    global_args: tuple[Instruction, ...]
    """ARG before the first FROM: for FROM lines, and the defaults of the same names in stages."""
    stages: tuple[Stage, ...]
    escape: str = "\\"
    """What `expand` is given as `escape`."""
    warnings: tuple[ParseWarning, ...] = ()
