"""What the shell offers where something is being typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.cli import completion
from launcher.cli.commands.images import images
from launcher.cli.completion import print_words
from runtime.state_dir import StateDir
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


def test_options_are_offered_behind_a_dash_and_their_values_behind_them(words) -> None:
    assert {"--detach", "-d", "--json", "--from-dev"} <= set(words("run", "--d"))
    assert "--rtol" in words("rerun", "@last", "--r")
    assert ["requirements.txt", "pylock.toml"] == words("lock", "--format", "")
    assert ["@last"] == words("run", "--from-dev", "")
    assert [] == words("rerun", "@last", "--name", "")


def test_a_noun_has_options_of_its_own_beside_its_actions(words) -> None:
    assert "--where" in words("runs", "--wh")
    assert "show" in words("runs", "")


def test_of_runs_those_that_are_sweeps_are_offered_where_one_is_meant(words, tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for run_id, sweep_id in {"aaaaaa": None, "bbbbbb": "bbbbbb"}.items():
        run_dir = state.run(run_id)
        run_dir.root.mkdir(parents=True)
        write_event(run_dir.journal, "created", run_id=run_id, experiment="x", sweep_id=sweep_id)
    assert {"aaaaaa", "bbbbbb"} <= set(words("runs", "show", ""))
    assert ["@last", "bbbbbb"] == words("sweep", "show", "")


def test_the_shells_of_which_there_is_a_script_are_offered(words) -> None:
    assert ["bash", "zsh", "fish"] == words("completion", "")


def test_an_experiment_is_offered_once(words) -> None:
    assert 1 == words("experiment=di").count("experiment=digits")


def test_keys_are_offered_one_level_at_a_time(words) -> None:
    top = words("experiment=digits", "")
    assert {"experiment=digits", "gpus=", "gpu.", "image=", "image.", "params.", "env.", "sweep="} <= set(top)
    assert not {"gpu=", "dev=", "env=", "@last"} & set(top)
    assert len(top) == len(set(top))
    assert {"gpu.memory=", "gpu.topology="} <= set(words("experiment=digits", "gpu.t"))


def test_parameters_are_those_of_the_experiment_that_was_chosen(words) -> None:
    assert {"params.lr=", "params.epochs="} <= set(words("run", "experiment=digits", "params.l"))
    assert [] == [word for word in words("experiment=digitss", "params.l") if word.startswith("params.")]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param("image=", ["image=bookworm", "image=cuda12", "image=debian"], id="presets"),
        pytest.param("gpu.topology=", ["gpu.topology=any", "gpu.topology=nvlink"], id="words"),
        pytest.param("deterministic=", ["deterministic=true", "deterministic=false"], id="a truth value"),
        pytest.param(
            "network=", [f"network={word}" for word in ("none", "host", "bridge", "pasta")], id="words, or a name of one's own"
        ),
        pytest.param("timeout=", [], id="anything"),
        pytest.param("nonsense.key=", [], id="no key"),
    ],
)
def test_values_are_offered_where_few_are_possible(words, typed: str, offered: list[str]) -> None:
    assert offered == words("experiment=digits", typed)


@pytest.mark.requires("cc")
def test_the_models_of_this_machine_are_offered_as_a_shell_takes_them(words, gpu_box) -> None:
    gpu_box(gpus=2)
    assert ["NVIDIA.H100.80GB.HBM3"] == [word.split("=")[1] for word in words("run", "gpu.model=") if word.startswith("gpu.")]


def test_bash_adds_no_space_behind_a_key(tmp_path: Path) -> None:
    """With a `compopt` that says what it is told: bash's own works only while somebody types."""
    (tmp_path / "launch").write_text("#!/bin/sh\necho gpus=\necho other\n")
    (tmp_path / "launch").chmod(0o755)
    asked = 'compopt() { echo "$2"; }; COMP_WORDS=(launch gp); COMP_CWORD=1; _launch; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{completion._SCRIPTS['bash']}\n{asked}"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nospace\ngpus=\n" == done.stdout
