"""A command is a declaration and a function: help, actions, hints and options come from the one, and cost little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli.command import Argument, Command, Options, switch
from launcher.cli.main import commands, run
from launcher.errors import ConfigError

HEAVY = (
    "hydra",
    "mlflow",
    "rich",
    "optuna",
    "yaml",
    "pydantic",
    "launcher.run",
    "launcher.plan",
    "launcher.tracking",
    "runtime.store",
)

LOADED = """
import sys
from launcher.cli.main import commands
commands()
print(*sorted(sys.modules))
"""


@pytest.fixture
def fruit() -> Command:
    @Command("fruit", "what there is", "List the fruit.", usage="[ACTION]")
    def fruit(options: Options) -> int:
        raise fruit.wrong_usage("say which")

    @fruit.action(
        "eat", "one of it", "Eat it.", Argument("name"), switch("--all", help="of it"), usage="NAME", takes_command=True
    )
    def fruit_eat(options: Options) -> int:
        return len(options.name)

    return fruit


def test_options_stand_anywhere_and_a_command_behind_two_dashes(fruit: Command) -> None:
    eat = fruit.actions["eat"]
    options = eat.parse(["--all", "pear", "--", "chew", "--debug"])
    assert (options.name, options.all, options.command, options.debug) == ("pear", True, ("chew", "--debug"), False)
    assert 4 == eat.function(options)
    assert eat.parse(["pear"]).command is None


def test_a_noun_lists_its_actions(fruit: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fruit.parse(["--help"])
    assert "actions (`launch fruit ACTION --help` shows what one takes):\n  eat       one of it" in capsys.readouterr().out


def test_a_wrong_command_line_names_the_help_of_its_command(fruit: Command) -> None:
    with pytest.raises(ConfigError) as refused:
        fruit.actions["eat"].parse([])
    assert "`launch fruit eat --help` shows what it takes" == refused.value.hint


def test_an_action_of_two_nouns_is_known_by_both_words() -> None:
    gc, twin = commands()["gc"], commands()["store"].actions["gc"]
    assert ("gc", "store gc") == (gc.words, twin.words)
    assert gc.function is twin.function


def test_finding_a_command_loads_nothing_that_does_the_work() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()
    assert [] == [name for name in loaded if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)]


@pytest.mark.parametrize(("words", "variable"), [((), "1"), (("--debug",), "")], ids=["LAUNCH_DEBUG", "--debug"])
def test_tracebacks_of_expected_failures_are_shown_on_request(
    words: tuple[str, ...],
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path))
    monkeypatch.setenv("LAUNCH_DEBUG", "")
    assert 2 == run(["outputs", "nope"])
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("LAUNCH_DEBUG", variable)
    assert 2 == run(["outputs", "nope", *words])
    assert "Traceback" in capsys.readouterr().err
