"""Overrides as a program has them (mappings, or text in Hydra's grammar) as the words that a command takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike, fspath
from typing import Any

from launcher.config.hydra_text import hydra_text
from launcher.errors import ConfigError

Override = str | Mapping[str, object]


def override_words(overrides: Iterable[Override], *, swept: bool = False) -> list[str]:
    """`{"params.lr": 0.1}` → `params.lr=0.1`. *swept*: a list holds values to try. Raises ConfigError."""
    words: list[str] = []
    for each in overrides:
        if isinstance(each, Mapping):
            words += _assignments(each, swept=swept)
        elif isinstance(each, str) and not each.startswith("-"):
            words.append(each)
        else:
            hint = '`{"params.lr": 0.1}`, or `"params.lr=0.1"`'
            raise ConfigError(f"`{each}` is no override", hint=hint)
    return words


def _assignments(values: Mapping[str, object], prefix: str = "", *, swept: bool) -> Iterator[str]:
    for name, value in values.items():
        key, plain = f"{prefix}{name}", _plain(value)
        if isinstance(plain, dict) and plain:
            yield from _assignments(plain, f"{key}.", swept=swept)
        elif swept and isinstance(plain, list):
            if not plain:
                raise ConfigError(f"`{key}` has no values to try")
            yield f"{key}={','.join(map(hydra_text, plain))}"
        else:
            yield f"{key}={hydra_text(plain)}"


def _plain(value: Any) -> Any:
    """*value* as JSON has it: also of NumPy, whose numbers and arrays have `tolist`, of tuples, ranges and paths."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    if isinstance(value, PathLike):
        return fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"`{value!r}` is no value of an override", hint="numbers, text, None, lists and mappings are")
