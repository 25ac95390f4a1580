"""How a program ended, in words."""

from __future__ import annotations

import pytest

from launcher.cli.runs.summary import exit_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (128, "exit code 128"),
        (139, "exit code 139 (SIGSEGV)"),
        (137, "exit code 137 (SIGKILL)"),
        (255, "exit code 255"),
    ],
)
def test_a_signal_has_its_name(code: int, words: str) -> None:
    assert words == exit_words(code)
