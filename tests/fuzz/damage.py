"""Inputs changed by chance: bytes cut, doubled and overwritten, JSON values exchanged for others. Pure, given its `Random`."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

_LONGEST = 64 << 10
_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b" ",
    b"0",
    b"-1",
    b"9" * 30,
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "²".encode(),
    b"\x1b]0;",
    b"/",
    b"..",
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1 << 63, 1 << 80, 1e308, float("inf"), "", "0", "a\0b", "²", "\ud800", "\x1b]0;", "../..", "/"),
    *([], {}, [[]], [None], {"": None}, [{}], {"a": []}, "x" * 5000),
)


def damaged_bytes(content: bytes, chance: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """*content* after one to six changes."""
    for _ in range(chance.randint(1, 6)):
        content = _changed(content, chance, words)[:_LONGEST]
    return content


def _changed(content: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    begin = chance.randint(0, len(content))
    end = min(len(content), begin + chance.choice((0, 1, 1, 2, 4, 8, 64, 512)))
    match chance.randint(0, 6):
        case 0:
            return content[:begin] + content[end:]
        case 1:
            return content[:begin] + content[begin:end] * chance.choice((2, 3, 100)) + content[end:]
        case 2:
            return content[:begin]
        case 3:
            return content[:begin] + chance.randbytes(end - begin) + content[end:]
        case 4 if content:
            place = chance.randrange(len(content))
            return content[:place] + bytes((content[place] ^ 1 << chance.randint(0, 7),)) + content[place + 1 :]
        case 5:
            return content[:begin] + chance.choice(_BYTES) + content[end:]
    return content[:begin] + chance.choice((*words, *_BYTES)) + content[begin:]


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """*content*, a JSON document, with one to three values exchanged; other bytes are damaged as such."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return damaged_bytes(content, chance)
    for _ in range(chance.randint(1, 3)):
        document = _exchanged(document, chance)
    return json.dumps(document).encode()[:_LONGEST]


def _exchanged(document: Any, chance: random.Random) -> Any:
    """*document* with one value below it exchanged, left out, doubled, or named otherwise."""
    if not isinstance(document, dict | list) or not document or chance.random() < 0.1:
        return chance.choice(_VALUES)
    if isinstance(document, list):
        place = chance.randrange(len(document))
        if chance.random() < 0.2:
            return [*document[:place], *document[place:][: chance.randint(0, 2)], *document[place:]]
        return [*document[:place], _exchanged(document[place], chance), *document[place + 1 :]]
    key = chance.choice(list(document))
    rest = {name: value for name, value in document.items() if name != key}
    if chance.random() < 0.2:
        return rest
    if chance.random() < 0.1:
        return {**rest, chance.choice(("", "\0", "\ud800", "a" * 300, key.upper())): document[key]}
    return {**document, key: _exchanged(document[key], chance)}
