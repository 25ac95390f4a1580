"""What the shell offers where something is being typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.commands.completion import main
from launcher.cli.commands.images import ACTIONS
from runtime.store.store import Store


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path))
    store = Store(tmp_path / "store").ensure()
    image = store.put_image(config={}, manifest={"layers": []}, layers=(), names=("digits",))

    def offered(*typed: str) -> list[str]:
        assert main(["words", "--", *typed]) == 0
        return [word.replace(image.digest.short, "<digest>") for word in capsys.readouterr().out.split()]

    return offered


def test_images_has_actions_and_these_take_images(words) -> None:
    assert list(ACTIONS) == words("images", "")
    assert ["digits", "<digest>"] == words("images", "show", "")
    assert ["digits", "<digest>"] == words("diff", "digits", "")


def test_a_command_is_offered_first(words) -> None:
    assert {"diff", "images", "verify"} <= set(words("d"))
