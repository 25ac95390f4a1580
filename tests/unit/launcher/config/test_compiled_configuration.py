"""A hit gives what a composition gives, and whatever could change the composition is a miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launcher.config.project import list_experiments
from runtime.light_dataclasses import replace
from tests.unit.launcher.config.conftest import Project

SHIPPED = [experiment.name for experiment in list_experiments(config_dir=None, cwd=Path("/"), environ={})]


@pytest.mark.parametrize("experiment", SHIPPED)
def test_hit_equals_composition_for_every_shipped_experiment(project: Project, experiment: str) -> None:
    cold = project.load(f"experiment={experiment}", "seed=3")
    warm = project.load(f"experiment={experiment}", "seed=3")
    composed = project.load(f"experiment={experiment}", "seed=3", environ={"LAUNCH_NO_CONFIG_CACHE": "1"})
    assert (False, True, False) == (cold.from_cache, warm.from_cache, composed.from_cache)
    for other in (warm, composed):
        assert (cold.spec, cold.origins, cold.choices) == (other.spec, other.origins, other.choices)


def test_hit_imports_none_of_the_heavy_libraries(project: Project) -> None:
    project.load("experiment=digits")
    program = (
        "import sys; from pathlib import Path; from launcher.config import compiled; from runtime.state_dir import StateDir\n"
        f"c = compiled.load(['experiment=digits'], config_dir=None, cwd=Path({str(project.root)!r}),"
        f" state=StateDir(Path({str(project.state.root)!r})), environ={{}})\n"
        "print(c.from_cache, [m for m in ('hydra', 'omegaconf', 'pydantic', 'yaml', 'packaging', 'rich') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert "True []\n" == done.stdout


def test_new_file_that_shadows_a_shipped_preset_is_a_miss(project: Project) -> None:
    project.load("experiment=digits")
    project.write("conf/image/debian.yaml", "base: oci:mine\n")
    project.write("conf/project.yaml", "# @package _global_\n")
    loaded = project.load("experiment=digits")
    assert (False, f"oci:{project.root}/mine") == (loaded.from_cache, loaded.spec.image.base)


def test_edited_file_is_a_miss(project: Project) -> None:
    project.experiment("command: [run]\nseed: 1\n")
    project.load("experiment=mine")
    project.experiment("command: [run]\nseed: 2\n")
    loaded = project.load("experiment=mine")
    assert (False, 2) == (loaded.from_cache, loaded.spec.seed)


def test_variable_that_was_read_is_part_of_the_entry(project: Project) -> None:
    project.experiment("command: [run]\nenv: {A: '${oc.env:A,none}'}\n")
    assert "none" == project.load("experiment=mine").spec.env["A"]
    assert project.load("experiment=mine", environ={"UNRELATED": "1"}).from_cache
    changed = project.load("experiment=mine", environ={"A": "x"})
    assert (False, "x") == (changed.from_cache, changed.spec.env["A"])
    assert project.load("experiment=mine", environ={"A": "x"}).from_cache
    assert not project.load("experiment=mine").from_cache  # absent again


def test_value_of_a_variable_is_stored_as_a_hash_only(project: Project) -> None:
    project.experiment("command: [run]\ndescription: ${oc.env:PLACE}\n")
    project.load("experiment=mine", environ={"PLACE": "here"})
    (entry,) = (project.state.cache / "compiled").glob("*.json")
    assert '"PLACE": "here"' not in entry.read_text()
    assert 0o700 == entry.parent.stat().st_mode & 0o777


def test_resolver_that_gives_something_else_each_time_is_never_stored(project: Project) -> None:
    project.experiment("command: [run]\ntags: {at: '${now:%H:%M:%S.%f}'}\n")
    first, second = project.load("experiment=mine"), project.load("experiment=mine")
    assert not second.from_cache
    assert first.spec.tags != second.spec.tags


@pytest.mark.parametrize(
    "arguments",
    [
        {"with_requirements": ["humanize"]},
        {"command": ["true"]},
        {"command": []},
    ],
    ids=["another requirement", "another command", "an empty command"],
)
def test_extras_of_the_command_line_are_part_of_the_key(project: Project, arguments: dict[str, list[str]]) -> None:
    project.load("experiment=digits")
    if arguments == {"command": []}:
        with pytest.raises(Exception, match="has no `command`"):
            project.load("experiment=digits", **arguments)
    else:
        assert not project.load("experiment=digits", **arguments).from_cache


def test_broken_entry_is_composed_again(project: Project) -> None:
    spec = project.load("experiment=digits").spec
    (entry,) = (project.state.cache / "compiled").glob("*.json")
    entry.write_text('{"environment": {}')
    again = project.load("experiment=digits")
    assert (False, spec) == (again.from_cache, again.spec)


def test_cache_that_cannot_be_written_is_no_failure(project: Project) -> None:
    project.state.root.mkdir()
    project.state.cache.write_text("a file where the directory should be")
    assert "digits" == project.load("experiment=digits").spec.name


def test_error_is_never_remembered(project: Project) -> None:
    project.error("experiment=digits", "gpsu=2")
    project.error("experiment=digits", "gpsu=2")
    assert not (project.state.cache / "compiled").exists()


def test_yaml_of_a_hit_is_that_of_the_composition(project: Project) -> None:
    cold, warm = project.load("experiment=digits", "seed=4"), project.load("experiment=digits", "seed=4")
    assert cold.yaml() == warm.yaml()
    document = yaml.safe_load(warm.yaml())
    assert 4 == document["seed"]
    assert "python3 train.py --lr=${params.lr} --epochs=${params.epochs}" == document["command"]


def test_with_joins_the_requirements_of_the_experiment(project: Project) -> None:
    loaded = project.load("experiment=digits", with_requirements=["a>=1", "b"])
    assert ("scikit-learn>=1.5", "matplotlib") == loaded.spec.image.requirements
    assert ("a>=1", "b") == loaded.spec.image.groups["with"].requirements
    assert "command line: --with 'a>=1' --with b" == loaded.origins["image.groups.with.requirements"]


def test_command_after_dashes_is_taken_word_by_word(project: Project) -> None:
    loaded = project.load("experiment=digits", command=["python3", "-c", "print('a b'); exit(3)", "--lr=${params.lr}"])
    assert ("python3", "-c", "print('a b'); exit(3)", "--lr=${params.lr}") == loaded.spec.command


def test_spec_survives_json(project: Project) -> None:
    from launcher.config.spec import ExperimentSpec, from_json, to_json

    spec = project.load("experiment=resnet", environ={"CIFAR10": "/c"}).spec
    assert spec == from_json(ExperimentSpec, to_json(spec))
    assert spec != replace(spec, seed=1)
