"""Heredocs: which words of an instruction begin one. The lines that follow are collected by `parse`.

As BuildKit's parser has it, `<<NAME`, `<<-NAME`, `<< NAME` and `3<<NAME` count, and `<<"NAME"` keeps variables from being
expanded. `<<<word` is a here-string: the shell's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.plan.dockerfile.expand import ExpansionError, quoted_and_plain, split_keeping

_WORD = re.compile(r"(\d*)<<(-?)\s*([^<]*)\Z")


@dataclass(frozen=True, slots=True)
class HeredocWord:
    """What `<<-"EOF"` says."""

    name: str
    expand: bool
    chomp: bool


def heredoc_word(word: str) -> HeredocWord | None:
    """*word* read as the beginning of a heredoc; None when it is another word."""
    found = _WORD.match(word)
    if found is None or not found[3]:
        return None
    try:
        plain, quoted = quoted_and_plain(found[3])
    except ExpansionError:
        return None
    if len(plain) != 1 or len(quoted) != 1:
        return None
    return HeredocWord(plain[0], expand=_quotes(plain[0]) == _quotes(quoted[0]), chomp=found[2] == "-")


def heredoc_words(line: str) -> list[HeredocWord]:
    """Every heredoc that *line* begins, in order."""
    return [found for word in split_keeping(line) if (found := heredoc_word(word))]


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')
