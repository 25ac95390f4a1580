"""`launch init` in a directory with files: one new file, nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.main import run


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my proj").mkdir()
    monkeypatch.chdir(tmp_path / "my proj")
    Path("train.py").write_text("import numpy\nprint('loss', 1)\n")
    return Path.cwd()


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_it_is_named_after_the_directory(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["init"])
    assert ["conf/experiment/my-proj.yaml", "train.py"] == files(repository)
    out, err = capsys.readouterr()
    assert ("conf/experiment/my-proj.yaml\n", True) == (out, "next: launch experiment=my-proj" in err)


def test_a_second_time_nothing_is_overwritten(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["init"])
    Path("conf/experiment/my-proj.yaml").write_text("mine")
    assert 2 == run(["init"])
    assert "is there already" in capsys.readouterr().err
    assert 0 == run(["init", "--name", "other"])
    assert ("mine", True) == (Path("conf/experiment/my-proj.yaml").read_text(), Path("conf/experiment/other.yaml").exists())


def test_a_conf_of_its_own_program_stays_alone_and_the_experiment_is_found_beside_it(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("conf").mkdir()
    Path("conf/config.yaml").write_text("lr: 0.1\n")
    assert 0 == run(["init", "--name", "theirs"])
    assert ["conf/config.yaml", "launch-conf/experiment/theirs.yaml", "train.py"] == files(repository)
    assert 0 == run(["--cfg", "job", "experiment=theirs"])
    assert "command: python3 train.py" in capsys.readouterr().out


def test_a_file_in_the_way_is_said(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf").write_text("")
    assert 2 == run(["init"])
    assert "cannot write `conf/experiment/my-proj.yaml`" in capsys.readouterr().err


def test_a_command_behind_two_dashes_is_the_one_that_is_read(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its program's imports, directory and options, not those of what looks most like training."""
    (repository / "examples/vae").mkdir(parents=True)
    Path("examples/vae/main.py").write_text("import torch\nimport train\nif __name__ == '__main__':\n    print('elbo', 2)\n")
    assert 0 == run(["init", "--name", "vae", "--", "sh", "-c", "cd examples/vae && MODE=fast python main.py --wide"])
    text = Path("conf/experiment/vae.yaml").read_text()
    assert 'command: [sh, -c, "cd examples/vae && exec env MODE=fast python3 main.py --wide"]    # as typed' in text
    assert ("requirements: [numpy, torch]" in text, "env: {PYTHONPATH: /workspace}" in text) == (True, True)
    assert "Not decided" not in text
    assert "command  env MODE=fast python3 main.py --wide   (as typed)" in capsys.readouterr().err


def test_a_command_needs_files_that_it_could_start(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["init", "new", "--", "python3", "train.py"])
    assert "`new` has no files that a command could start" in capsys.readouterr().err
    assert ["train.py"] == files(repository)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        pytest.param(["python3", "trian.py"], "did you mean `train.py`?", id="a misspelt file"),
        pytest.param(["sh", "-c", "python3 train.py | tee log"], "`|` in `python3 train.py | tee log`", id="a pipe"),
        pytest.param(["sh", "-c", "python3 'train.py"], "is no command: no closing quotation", id="an open quote"),
        pytest.param([], "no command after `--`", id="nothing"),
    ],
)
def test_a_command_that_cannot_be_read_writes_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    assert 2 == run(["init", "--", *typed])
    assert said in capsys.readouterr().err
    assert ["train.py"] == files(repository)
