"""A repository whose requirements are its own package and another repository: launched, edited, made again from its record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from git_repository import WHO, Repository
from launch_command import Launch
from source_package import package_files

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

EXPERIMENT = """\
# @package _global_
image: {{requirements: [-e ., "other @ {url}@v1"]}}
code: {{root: ., setup: [cp two.txt made.txt], exclude: [conf/**]}}
command: [python3, train.py]
cpus: 0.5
tracking: null
"""
TRAIN = """\
import json, os, mine, other
library = open(os.path.dirname(mine.__file__) + "/_fast.so").read().strip()
print(mine.x, other.x, library, open("made.txt").read().strip(), mine.__file__)
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"step": 0, "x": mine.x}) + "\\n")
"""


@pytest.fixture
def project(launch: Launch, tmp_path: Path) -> Launch:
    other = Repository(tmp_path / "other")
    other.commit(package_files("other"))
    other.git("tag", "v1")
    shutil.copytree(launch.project, tmp_path / "project")
    (tmp_path / "project/conf/experiment/own.yaml").write_text(EXPERIMENT.format(url=other.url))
    for name, text in {**package_files("mine"), "train.py": TRAIN, "two.txt": "made\n"}.items():
        place = tmp_path / "project" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Launch(launch.home, tmp_path / "project", WHO)


def test_packages_of_repositories_are_launched_edited_and_made_again(project: Launch) -> None:
    first = project("experiment=own")
    assert "1 1 int x; made /workspace/src/mine/__init__.py" == first.stdout.strip()

    module = project.project / "src/mine/__init__.py"
    module.write_text("x = 2\n")
    again = project("experiment=own", "-v")
    assert again.stdout.startswith("2 1 int x; made")
    planned = project("plan", "experiment=own").stdout
    assert "hit   mine from the code (editable)" in planned

    (project.project / "src/mine/_fast.c").write_text("int y;\n")
    planned = project("plan", "experiment=own").stdout
    assert "requirements: mine: src/mine/_fast.c changed" in planned

    # The record has what the image was made of; the image and the code of then are gone.
    run = first.stderr.rpartition("launch rerun ")[2].split()[0]
    project("images", "rm", "own")
    assert "identical" in project("rerun", run, "--verify").stderr


def test_a_revision_that_is_not_there_ends_with_2_and_says_where(project: Launch) -> None:
    experiment = project.project / "conf/experiment/own.yaml"
    experiment.write_text(experiment.read_text().replace("@v1", "@v9"))
    failed = project("plan", "experiment=own", check=2)
    assert "has no revision `v9`" in failed.stderr
    assert "own.yaml:2" in failed.stderr
