"""Words of others reach the terminal as words."""

from __future__ import annotations

import io

import pytest

from launcher.cli.render import EscapedText, escaped, printable, wants_color


def test_nothing_of_an_image_moves_the_cursor_or_breaks_the_encoding() -> None:
    assert "\\x1b[2J\\nnaïve → \\udcff" == printable("\x1b[2J\nnaïve → \udcff")
    printable("\udcff").encode()


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        pytest.param("a\x1b]0;owned\x07b", "a\\x1b]0;owned\\x07b", id="a title"),
        pytest.param("a\x1b[8mb\x1b[2J", "a\\x1b[8mb\\x1b[2J", id="hidden letters and a cleared screen"),
        pytest.param("a\rb\x9b2J\x7f", "a\\x0db\\u009b2J\\u007f", id="overwritten lines"),
        pytest.param("a\u202eb", "a\\u202eb", id="letters in another order"),
        pytest.param("caf\udce9", "caf\\xe9", id="a byte that is not UTF-8"),
        pytest.param("\x1b[31merror\x1b[0m: naïve →\n\tx", "\x1b[31merror\x1b[0m: naïve →\n\tx", id="our own"),
    ],
)
def test_what_is_printed_is_escaped_whoever_prints_it(said: str, sent: str) -> None:
    stream = io.StringIO()
    print(said, end="", file=EscapedText(stream))
    assert sent == stream.getvalue() == escaped(said)


@pytest.mark.parametrize(
    ("environ", "is_coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": ""}, False), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_where_no_terminal_is_colour_is_for_who_forces_it(
    environ: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_coloured == wants_color(io.StringIO())
