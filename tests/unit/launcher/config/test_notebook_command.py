"""A notebook is a command, and its image gets what runs it."""

from __future__ import annotations

import pytest

from tests.unit.launcher.config.conftest import Project


@pytest.mark.parametrize("command", ["train.ipynb", "[train.ipynb]", "'${params.which}.ipynb'"])
def test_the_image_of_a_notebook_gets_what_runs_it(project: Project, command: str) -> None:
    project.experiment(f"image: {{requirements: [numpy]}}\ncode: {{root: .}}\ncommand: {command}\nparams: {{which: train}}\n")
    image = project.load("experiment=mine").spec.image
    assert (("numpy",), ("nbclient", "ipykernel")) == (image.requirements, image.groups["notebook"].requirements)


def test_a_group_of_that_name_stays_what_it_is(project: Project) -> None:
    project.experiment("image: {groups: {notebook: {requirements: [nbclient==0.9]}}}\ncode: {root: .}\ncommand: train.ipynb\n")
    assert ("nbclient==0.9",) == project.load("experiment=mine").spec.image.groups["notebook"].requirements


@pytest.mark.parametrize("command", ["python3 train.py", "jupyter nbconvert train.ipynb"])
def test_other_commands_get_nothing(project: Project, command: str) -> None:
    project.experiment(f"code: {{root: .}}\ncommand: {command}\n")
    assert {} == project.load("experiment=mine").spec.image.groups
