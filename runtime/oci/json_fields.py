"""Typed access to the fields of a JSON object that comes from outside. No I/O.

Strict about what is asked for (a wrong type is BadContent, named by its place), blind to the rest. `null` is the same as absent:
Go programs write it for empty lists.
"""

from __future__ import annotations

from runtime.errors import BadContent
from runtime.light_typing import Any


class Fields:
    """The fields of one object; *where* is its place, for error texts."""

    def __init__(self, document: Any, where: str) -> None:
        if not isinstance(document, dict):
            raise BadContent(f"`{where}` is not an object")
        self._document = document
        self.where = where

    def _place(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def _wrong(self, name: str, expected: str) -> BadContent:
        return BadContent(f"`{self._place(name)}` is not {expected}: {self._document.get(name)!r:.80}")

    def _missing(self, name: str) -> BadContent:
        return BadContent(f"`{self._place(name)}` is missing")

    def _require(self, name: str) -> None:
        if self._document.get(name) is None:
            raise self._missing(name)

    def names(self) -> tuple[str, ...]:
        """Every key there is, for a format in which an unknown one is a mistake."""
        return tuple(self._document)

    def raw(self, name: str) -> Any:
        return self._document.get(name)

    def text(self, name: str) -> str | None:
        value = self._document.get(name)
        if value is None or _is_text(value):
            return value
        raise self._wrong(name, "a text")

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise self._missing(name)
        return value

    def integer(self, name: str, *, lowest: int = -(1 << 63), highest: int = (1 << 64) - 1) -> int | None:
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "an integer")
        if not lowest <= value <= highest:
            raise self._wrong(name, f"between {lowest} and {highest}")
        return value

    def required_integer(self, name: str, *, lowest: int = -(1 << 63), highest: int = (1 << 64) - 1) -> int:
        value = self.integer(name, lowest=lowest, highest=highest)
        if value is None:
            raise self._missing(name)
        return value

    def boolean(self, name: str) -> bool | None:
        value = self._document.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(name, "true or false")

    def items(self, name: str) -> list[Any]:
        value = self._document.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self._wrong(name, "a list")

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.items(name)
        for value in values:
            if not _is_text(value):
                raise self._wrong(name, "a list of texts")
        return tuple(values)

    def required_texts(self, name: str) -> tuple[str, ...]:
        self._require(name)
        return self.texts(name)

    def integers(self, name: str) -> tuple[int, ...]:
        values = self.items(name)
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._wrong(name, "a list of integers")
        return tuple(values)

    def child(self, name: str) -> Fields | None:
        value = self._document.get(name)
        return None if value is None else Fields(value, self._place(name))

    def children(self, name: str) -> list[Fields]:
        return [Fields(value, f"{self._place(name)}[{index}]") for index, value in enumerate(self.items(name))]

    def required_children(self, name: str) -> list[Fields]:
        self._require(name)
        return self.children(name)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(_is_text(one) for pair in value.items() for one in pair):
            raise self._wrong(name, "an object of texts")
        return dict(value)


def _is_text(value: Any) -> bool:
    """Whether *value* is a text that can be a path, a variable or a line: JSON can write half a character (`\\ud800`), too."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
