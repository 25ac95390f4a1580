"""docs/reference/command-line.md says what `--help` says."""

from __future__ import annotations

from pathlib import Path

from launcher.cli import reference
from launcher.cli.main import commands


def test_command_line_page_is_current() -> None:
    page = Path(__file__).resolve().parents[4] / "docs/reference/command-line.md"
    assert reference.page() == page.read_text(), "python -m launcher.cli.reference > docs/reference/command-line.md"


def test_every_command_explains_itself() -> None:
    page = reference.page()
    assert [] == [word for word in commands() if f"usage: launch {word}" not in page]
