"""Words as a Dockerfile and its shell have to see them so that they arrive as they are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SPECIAL = re.compile(r"[\\$\"']")


class Unwritable(ValueError):
    """Something that no line of a Dockerfile can hold."""


def value(text: str) -> str:
    """*text* as the value of ENV or LABEL."""
    _refuse_what_no_line_holds(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", text):
        return text
    return '"' + re.sub(r"([\\\"$])", r"\\\1", text) + '"'


def bare(text: str) -> str:
    """*text* as the one argument of USER, WORKDIR or STOPSIGNAL, where variables and quotes count."""
    _refuse_what_no_line_holds(text)
    if text != text.strip() or not text:
        raise Unwritable(f"`{text}` begins or ends with white space")
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def words(texts: Sequence[str]) -> str:
    """*texts* as the arguments of COPY, ADD or VOLUME: as an array where white space needs it."""
    escaped = [bare(text) for text in texts]
    plain = all(re.fullmatch(r"[^\s\[\\]+", text) for text in escaped) and not any("<<" in text for text in escaped)
    return " ".join(escaped) if plain else array(escaped)


def array(texts: Sequence[str]) -> str:
    """The exec form."""
    return json.dumps(list(texts), ensure_ascii=False)


def single_quoted(text: str) -> str:
    """*text* in the shell's single quotes."""
    _refuse_what_no_line_holds(text)
    return "'" + text.replace("'", "'\\''") + "'"


def shell_word(text: str) -> str:
    """*text* as a word of a shell, quoted where it needs to be."""
    _refuse_what_no_line_holds(text)
    return shlex.quote(text)


def is_shell_name(name: str) -> bool:
    """Whether a shell can assign to *name*."""
    return _NAME.match(name) is not None


def _refuse_what_no_line_holds(text: str) -> None:
    if any(char in text for char in "\n\r\0"):
        raise Unwritable(f"`{text.splitlines()[0]}…` has a line end in it")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise Unwritable("a name is not UTF-8")
