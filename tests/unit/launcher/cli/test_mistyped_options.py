"""A mistyped option or `experiment=` is answered with the one that was meant."""

from __future__ import annotations

import pytest

from launcher.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["experimnt=t"], "did you mean `experiment=t`?"),
        (["run", "+experiement=t", "seed=1"], "did you mean `experiment=t`?"),
        (["params.lr=1"], "name one, as in `experiment=digits`"),
        (["--mutlirun", "experiment=digits"], "did you mean `--multirun`?"),
        (["-multirun", "experiment=digits"], "did you mean `--multirun`?"),
        (["--versoin"], "did you mean `--version`?"),
        (["logs", "--folow", "x"], "did you mean `--follow`?"),
        (["-cn", "other"], "there is one configuration; `experiment=NAME` chooses what is launched"),
        (["--info", "experiment=digits"], "`launch --cfg job experiment=NAME` prints the configuration"),
        (["experiment=digits", "--no-such-thing"], "`launch run --help` shows what it takes"),
    ],
)
def test_the_near_one_is_named(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(arguments)
    assert hint in capsys.readouterr().err


def test_help_of_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["help", "images", "show"], ["images", "show", "--help"]):
        with pytest.raises(SystemExit):
            run(words)
    first, second = capsys.readouterr().out.split("usage:")[1:]
    assert first == second
