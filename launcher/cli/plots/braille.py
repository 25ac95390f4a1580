"""Lines drawn with braille patterns (Unicode block U+2800): two by four dots in the place of a letter."""

from __future__ import annotations

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Column, row → the dot's bit in the code point."""


class Canvas:
    """A raster of dots. (0, 0) is at the bottom left."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.width, self.height = columns * 2, rows * 4
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}

    def dot(self, x: int, y: int, color: int) -> None:
        """Set a dot; a letter that two lines share has the color of the later one. Outside: nothing."""
        if not (0 <= x < self.width and 0 <= y < self.height):
            return
        down = self.height - 1 - y
        cell = (x // 2, down // 4)
        bits, _ = self._cells.get(cell, (0, color))
        self._cells[cell] = (bits | _BITS[x % 2][down % 4], color)

    def line(self, start: tuple[int, int], end: tuple[int, int], color: int) -> None:
        """A straight line, ends included."""
        (x0, y0), (x1, y1) = start, end
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for number in range(count + 1):
            self.dot(round(x0 + (x1 - x0) * number / count), round(y0 + (y1 - y0) * number / count), color)

    def cell(self, column: int, row: int) -> tuple[str, int | None]:
        """The letter there, rows from the top, and its color; a blank has none."""
        bits, color = self._cells.get((column, row), (0, 0))
        return (chr(0x2800 + bits), color) if bits else (" ", None)
