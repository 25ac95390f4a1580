"""Flags of instructions: split from what follows them, and checked against what the instruction knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.expand import is_space
from runtime.suggestions import did_you_mean

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


def checked_flags(keyword: str, words: Sequence[str], origin: Origin) -> tuple[tuple[str, str | None], ...]:
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
