"""Words of an image reach the terminal as words."""

from __future__ import annotations

from launcher.cli.render import printable


def test_nothing_of_an_image_moves_the_cursor_or_breaks_the_encoding() -> None:
    assert "\\x1b[2J\\nnaïve → \\udcff" == printable("\x1b[2J\nnaïve → \udcff")
    printable("\udcff").encode()
