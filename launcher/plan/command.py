"""Fill in the words of a command: `--lr=${params.lr}` → `--lr=0.1`.

The words were split by shell rules before (`launcher.config`), so a value with spaces, quotes or `;` stays one word and no
shell ever sees it. A word that is nothing but a reference to a list becomes several words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher.errors import ConfigError, Origin
from runtime.suggestions import did_you_mean

_REFERENCE = re.compile(r"(\\)?\$\{([^${}]*)\}")

Tree = Mapping[str, Any]


def fill(words: Sequence[Any], tree: Tree | Callable[[], Tree], *, origin: Origin | None = None) -> tuple[str, ...]:
    """*words* with every `${a.b}` replaced by that value of *tree* (the spec as plain data, or a function that makes it)."""
    filled: list[str] = []
    for word in words:
        if not isinstance(word, str):
            filled.append(_text(word, "command", word, origin))
            continue
        if "${" not in word:
            filled.append(word)
            continue
        if callable(tree):
            tree = tree()
        filled.extend(_fill_word(word, tree, origin))
    if not filled or not filled[0]:
        raise ConfigError(
            "`command` is empty", origin=origin, hint="it names the program to run, as in `command: python3 train.py`"
        )
    for word in filled:
        if "\0" in word:
            raise ConfigError(f"the word {word!r} of `command` holds a NUL, which no program can be given", origin=origin)
    return tuple(filled)


def _fill_word(word: str, tree: Tree, origin: Origin | None) -> list[str]:
    whole = _REFERENCE.fullmatch(word)
    if whole is not None and whole[1] is None:
        value = _look_up(whole[2], tree, word, origin)
        if isinstance(value, list | tuple):
            return [_text(item, whole[2], word, origin) for item in value]
    return [_REFERENCE.sub(lambda found: _replacement(found, tree, word, origin), word)]


def _replacement(found: re.Match[str], tree: Tree, word: str, origin: Origin | None) -> str:
    if found[1] is not None:
        return found[0][1:]
    return _text(_look_up(found[2], tree, word, origin), found[2], word, origin)


def _look_up(reference: str, tree: Tree, word: str, origin: Origin | None) -> Any:
    if ":" in reference:
        hint = "give a key under `params` that value, and refer to the key"
        raise ConfigError(f"`${{{reference}}}` cannot stand in a word of `command`", origin=origin, hint=hint)
    value: Any = tree
    for key in re.split(r"\.|\[|\]\.?", reference.removesuffix("]")):
        try:
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(
                f"`{reference}` in the word `{word}` of `command` does not exist", origin=origin, hint=_near(reference, tree)
            ) from None
    return value


def _near(reference: str, tree: Tree) -> str | None:
    params = tree.get("params", {})
    names = [f"params.{key}" for key in params] + [key for key in tree if key != "params"]
    hints = (did_you_mean(word, names, prefix="${", suffix="}") for word in (reference, f"params.{reference}"))
    return next(filter(None, hints), None)


def _text(value: Any, reference: str, word: Any, origin: Origin | None) -> str:
    """The text of a value: what JSON writes, but strings bare."""
    if isinstance(value, str):
        return value
    if value is None:
        hint = "give it a value, or take the word out of `command`; the program can read it from $LAUNCH_PARAMS, too"
        raise ConfigError(f"{reference} is null, so the word `{word}` of `command` has no value", origin=origin, hint=hint)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
