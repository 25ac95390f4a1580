"""What the shell offers where something is being typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.commands.images import images
from launcher.cli.completion import print_words
from runtime.store.store import Store


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path))
    store = Store(tmp_path / "store").ensure()
    image = store.put_image(config={}, manifest={"layers": []}, layers=(), names=("digits",))

    def offered(*typed: str) -> list[str]:
        assert print_words(typed) == 0
        return [word.replace(image.digest.short, "<digest>") for word in capsys.readouterr().out.split()]

    return offered


def test_images_has_actions_and_these_take_images(words) -> None:
    assert list(images.actions) == words("images", "")
    assert ["digits", "<digest>"] == words("images", "show", "")
    assert ["@last", "digits", "<digest>"] == words("diff", "digits", "")


def test_every_argument_that_means_a_run_or_an_image_is_completed(words) -> None:
    assert ["@last"] == words("runs", "show", "") == words("logs", "-f", "") == words("sweep", "best", "")
    assert ["digits", "<digest>"] == words("verify", "") == words("push", "")
    assert [] == words("ui", "")


def test_a_command_is_offered_first(words) -> None:
    assert {"diff", "images", "verify"} <= set(words("d"))
