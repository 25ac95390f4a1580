"""Where conf/ is found, what relative paths start from, and what `launch init` makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.config.project import init_project, list_experiments, search_path, shipped_conf
from launcher.errors import ConfigError
from tests.unit.launcher.config.conftest import Project


def test_conf_is_found_upward_from_the_working_directory(project: Project) -> None:
    project.experiment("command: [run]\n")
    below = project.root / "a" / "b"
    below.mkdir(parents=True)
    assert str(project.root) == project.load("experiment=mine", cwd=below).spec.code.root


def test_directory_called_conf_that_is_not_ours_is_passed_over(project: Project) -> None:
    project.experiment("command: [run]\n")
    below = project.root / "server"
    (below / "conf").mkdir(parents=True)
    (below / "conf" / "nginx.conf").write_text("")
    assert "mine" == project.load("experiment=mine", cwd=below).spec.name


def test_first_of_the_search_path_wins(project: Project, tmp_path: Path) -> None:
    project.experiment("command: [project]\n")
    site, home = tmp_path / "site", tmp_path / "home"
    for directory in (site / "experiment", home / ".config/launch/conf"):
        directory.mkdir(parents=True)
    found = search_path(config_dir=None, cwd=project.root, environ={"HOME": str(home)}, site=site)
    assert (project.root / "conf", home / ".config/launch/conf", site, shipped_conf()) == found.directories


def test_config_dir_goes_before_the_project(project: Project, tmp_path: Path) -> None:
    project.experiment("command: [project]\n")
    other = tmp_path / "other" / "settings"
    (other / "experiment").mkdir(parents=True)
    (other / "experiment" / "mine.yaml").write_text("# @package _global_\ncommand: [other]\ncode: {root: src}\n")
    loaded = project.load("experiment=mine", config_dir=other)
    assert (("other",), str(tmp_path / "other/src")) == (loaded.spec.command, loaded.spec.code.root)


def test_config_dir_that_does_not_exist(project: Project) -> None:
    with pytest.raises(ConfigError, match="no such configuration directory"):
        project.load("experiment=digits", config_dir=Path("nope"))


def test_settings_of_user_and_site_take_part(project: Project, tmp_path: Path) -> None:
    conf = tmp_path / "xdg/launch/conf"
    conf.mkdir(parents=True)
    (conf / "user.yaml").write_text("# @package _global_\ntags: {who: me}\n")
    project.write("conf/project.yaml", "# @package _global_\ntags: {team: vision}\n")
    loaded = project.load("experiment=digits", environ={"XDG_CONFIG_HOME": str(tmp_path / "xdg")})
    assert {"who": "me", "team": "vision"} == loaded.spec.tags


def test_paths_in_a_file_start_from_the_directory_that_holds_conf(project: Project) -> None:
    project.experiment("""
        command: [run]
        image:
          base: oci:images/base
          requirements: requirements/train.txt
          index: {find_links: [wheels, "https://lab/simple"], constraints: [c.txt]}
          groups: {more: {requirements: ["-r extra.txt", "-c https://lab/c.txt", numpy, ./package]}}
        code: {root: src}
        data: {a: data/a, b: {source: ../b, target: /b, readonly: false}, c: ~/c}
        """)
    below = project.root / "below"
    below.mkdir()
    spec = project.load("experiment=mine", cwd=below, environ={"HOME": "/home/me"}).spec
    root = project.root
    assert (f"oci:{root}/images/base", f"{root}/requirements/train.txt") == (spec.image.base, spec.image.requirements)
    assert ((f"{root}/wheels", "https://lab/simple"), (f"{root}/c.txt",)) == (
        spec.image.index.find_links,
        spec.image.index.constraints,
    )
    assert (f"-r {root}/extra.txt", "-c https://lab/c.txt", "numpy", f"{root}/package") == spec.image.groups["more"].requirements
    assert f"{root}/src" == spec.code.root
    assert [f"{root}/data/a", f"{root.parent}/b", "/home/me/c"] == [mount.source for mount in spec.data.values()]


def test_paths_on_the_command_line_start_from_the_working_directory(project: Project) -> None:
    project.experiment("command: [run]\n")
    below = project.root / "below"
    below.mkdir()
    spec = project.load("experiment=mine", "data.a=x", "code.root=y", cwd=below).spec
    assert (f"{below}/x", f"{below}/y") == (spec.data["a"].source, spec.code.root)


def test_shipped_code_is_where_the_shipped_configuration_says(project: Project) -> None:
    for name in ("digits", "resnet"):
        assert (Path(project.load(f"experiment={name}").spec.code.root) / "train.py").is_file()


def test_experiments_are_listed_with_their_descriptions(project: Project) -> None:
    project.experiment("description: My own\ncommand: [run]\n", name="digits")
    project.experiment("description: [broken\n", name="group/broken")
    found = {e.name: e.description for e in list_experiments(config_dir=None, cwd=project.root, environ={})}
    assert ("My own", "", True) == (found["digits"], found["group/broken"], "resnet" in found)


def test_experiment_in_a_folder_can_be_launched(project: Project) -> None:
    project.experiment("command: [run]\n", name="vision/small")
    assert "vision/small" == project.load("experiment=vision/small").spec.name


def test_new_project_is_ready_to_launch(project: Project) -> None:
    written = init_project(project.root)
    assert project.root / "conf/experiment/example.yaml" in written
    spec = project.load("experiment=example").spec
    assert (str(project.root / "experiments/example"), {"project": "example"}) == (spec.code.root, spec.tags)
    assert 3 == len(project.sweep("experiment=example").trials)
    done = subprocess.run(
        [sys.executable, "train.py", "--epochs=2"], cwd=spec.code.root, capture_output=True, text=True, check=True
    )
    assert 2 == len(done.stdout.splitlines())


def test_new_project_leaves_files_as_they_are(project: Project) -> None:
    readme = project.write("README.md", "mine\n")
    assert readme not in init_project(project.root)
    assert "mine\n" == readme.read_text()
    assert [] == init_project(project.root)
