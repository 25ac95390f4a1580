"""Nouns with actions: `launch images show IMAGE`, `launch runs rm RUN`. One file an action, `launcher/cli/<noun>/<action>.py`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from launcher.errors import ConfigError
from runtime.suggestions import did_you_mean


def action_main(noun: str, actions: Mapping[str, str], arguments: Sequence[str], *, shown_by_default: str) -> int | None:
    """Do what the first word of *arguments* says; None when it is no word (options, or nothing): the noun alone is meant.

    *shown_by_default* is what a word that is no action may have been: the placeholder of `show`.
    """
    if not arguments or arguments[0].startswith("-"):
        return None
    word = arguments[0]
    if word not in actions:
        raise ConfigError(f"unknown action `{word}`", hint=_what_was_meant(noun, actions, word, shown_by_default))
    code: int = importlib.import_module(f"launcher.cli.{noun}.{word}").main(arguments[1:])
    return code


def epilog(noun: str, actions: Mapping[str, str]) -> str:
    """The actions for the noun's `--help`."""
    lines = [f"  {word:<9} {text}" for word, text in actions.items()]
    return "\n".join([f"actions (`launch {noun} ACTION --help` shows what one takes):", *lines])


def _what_was_meant(noun: str, actions: Mapping[str, str], word: str, what: str) -> str:
    return did_you_mean(word, actions, prefix=f"launch {noun} ") or f"`launch {noun} show {word}` shows {what}"
