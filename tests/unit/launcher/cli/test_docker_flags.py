"""What stands in Makefiles behind `docker build`: taken where it changes nothing, refused with the way out where it would."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.images.docker_options import plain_switches
from launcher.cli.main import run


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /x\ntext\nEOF\n")
    return tmp_path


def test_what_changes_nothing_is_taken_without_a_word(context: Path, capfd: pytest.CaptureFixture[str]) -> None:
    usual = ["--rm", "--force-rm=true", "--load", "--progress", "plain", "--provenance=false", "--sbom=false", "--pull=false"]
    assert 0 == run(["build", *usual, "--progress=quiet", "-t", "x", "."])
    assert "" == capfd.readouterr().err


def test_the_digest_is_written_where_a_makefile_wants_it(context: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["build", "-q", "--iidfile", "made", "."])
    assert capfd.readouterr().out.split()[0] == (context / "made").read_text()
    assert 2 == run(["build", "-q", "--iidfile", "none/made", "."])
    assert "there is no directory `none`" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (["--output", "type=local,dest=out"], "`launch save IMAGE -o FILE`"),
        (["-o", "out"], "`launch save IMAGE -o FILE`"),
        (["--cache-from=lab/x"], "name it in FROM"),
        (["--cache-to", "type=inline"], "name it in FROM"),
        (["--ssh", "default"], "`--secret id=key,src=FILE`"),
        (["--provenance=mode=max"], "`launch verify`"),
        (["--sbom=true"], "`launch images sbom IMAGE`"),
        (["--platform", "linux/s390x"], "build on a linux/s390x machine"),
        (["--push"], "`-t REGISTRY/NAME:TAG`"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do_instead(
    words: list[str], way_out: str, context: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert 2 == run(["build", *words, "."])
    assert way_out in capfd.readouterr().err


def test_a_switch_with_a_value_is_a_switch() -> None:
    assert ["--rm", "-t", "a", "--", "--rm=true"] == plain_switches(["--rm=true", "--load=0", "-t", "a", "--", "--rm=true"])
    assert ["--pull=never", "a=true"] == plain_switches(["--pull=never", "a=true"])
