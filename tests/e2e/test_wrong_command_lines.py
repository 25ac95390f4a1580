"""Mistakes are exit 2 in under a second, with the place and the way out, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_command import Launch

pytestmark = pytest.mark.any_user


@pytest.fixture
def nowhere(tmp_path: Path, probe_project: Path) -> Launch:
    """A LAUNCH_HOME that does not exist yet."""
    return Launch(tmp_path / "home", probe_project)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["experiment=probee"], ["`probee`", "did you mean `experiment=probe`"], id="unknown experiment"),
        pytest.param(["experiment=probe", "gpsu=2"], ["gpsu", "command line: gpsu=2", "did you mean `gpus=2`"], id="unknown key"),
        pytest.param(["experiment=probe", "params.lrr=1"], ["lrr", "params.lr"], id="unknown parameter"),
        pytest.param(["experiment=probe", "gpu=2"], ["gpus=2"], id="gpu for gpus"),
        pytest.param(["experiment=probe", "cpus=many"], ["cpus"], id="wrong type"),
        pytest.param(["experiment=probe", "memory=5parsecs"], ["not a size"], id="impossible size"),
        pytest.param(["experiment=probe", "timeout=soon"], ["not a duration"], id="impossible duration"),
        pytest.param(["experiment=probe", "cpus=4096"], ["4096 requested", "present"], id="more cpus than there are"),
        pytest.param(["experiment=probe", "gpus=64"], ["64 requested"], id="more GPUs than there are"),
        pytest.param(["experiment=probe", "data.d=/no/such/place"], ["/no/such/place"], id="missing data"),
        pytest.param(["experiment=probe", "params.how=1,2"], ["launch -m"], id="choices without -m"),
        pytest.param(["experiment=probe", "hydra.run.dir=/tmp"], ["hydra"], id="hydra's own keys"),
        pytest.param(["experiment=probe", "--no-such-option"], ["--no-such-option", "--help"], id="unknown option"),
        pytest.param(["params.lr=1"], ["no experiment", "launch list"], id="no experiment"),
        pytest.param(["digits"], ["unknown command `digits`", "experiment=digits"], id="an experiment as a command"),
        pytest.param(["rnu", "experiment=probe"], ["did you mean `launch run`"], id="a mistyped command"),
        pytest.param(["logs", "nope"], ["no run `nope`", "launch runs"], id="unknown run"),
    ],
)
def test_it_says_what_where_and_what_to_do(nowhere: Launch, arguments: list[str], expected: list[str]) -> None:
    done = nowhere(*arguments, check=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    for text in expected:
        assert text in done.stderr
    assert not (nowhere.home / "runs").exists() or not list((nowhere.home / "runs").iterdir())


def test_a_wrong_file_is_named_with_its_line(nowhere: Launch, tmp_path: Path) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    file = tmp_path / "conf/experiment/broken.yaml"
    file.write_text("# @package _global_\ncommand: python3 x.py\nimage:\n  reqirements: [numpy]\n")
    done = nowhere("experiment=broken", "--config-dir", str(tmp_path / "conf"), check=2)
    assert "broken.yaml:4" in done.stderr
    assert "did you mean `image.requirements`" in done.stderr


def test_a_plan_touches_nothing(nowhere: Launch) -> None:
    done = nowhere("plan", "experiment=probe")
    assert "debian" in done.stdout
    assert "miss" in done.stdout
    assert {path.name for path in nowhere.home.iterdir()} <= {"cache"}
