"""environment.yml: its Python and its `pip:` section where that is all, else the two ways that work."""

from __future__ import annotations

from pathlib import Path

import pytest
from wheel_project import Project, names

from launcher.errors import ConfigError
from launcher.plan.requirements.formats.conda_environment import read_environment


def test_the_pip_section_is_resolved_as_a_requirements_file(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "more.txt").write_text("lib==1.0\n")
    text = "name: mine\nchannels: [defaults]\ndependencies:\n  - python=3.13\n  - pip\n  - pip:\n    - app\n    - -r more.txt\n"
    (tmp_path / "environment.yml").write_text(text)
    assert ["app 1.0", "lib 1.0"] == names(project.resolve(requirements="environment.yml"))
    (tmp_path / "more.txt").write_text("lib==1.1\n")
    assert ["app 1.0", "lib 1.1"] == names(project.resolve(requirements="environment.yml"))


@pytest.mark.parametrize(
    ("written", "python"),
    [
        ("python=3.10", "3.10"),
        ("python==3.10.4", "3.10.4"),
        ("conda-forge::python=3.9.*", "3.9"),
        ("python =3.11", "3.11"),
        ("python=3.8.5=h7579374_1", "3.8.5"),
        ("python>=3.9", None),
        ("python", None),
    ],
)
def test_the_python_of_an_environment(written: str, python: str | None) -> None:
    assert python == read_environment(Path("environment.yml"), f"dependencies: ['{written}', pip, setuptools]").python


def test_packages_of_conda_are_refused_with_two_ways_that_work() -> None:
    text = "dependencies: [python=3.10, numpy=1.24, 'conda-forge::cudatoolkit', pytorch, scipy, git, pip: [tqdm]]"
    with pytest.raises(ConfigError, match="wants `numpy`, `cudatoolkit`, `pytorch`, `scipy` and 1 more from conda") as failed:
        read_environment(Path("environment.yml"), text)
    assert "image.dockerfile" in (failed.value.hint or "")
    assert "image.base" in (failed.value.hint or "")
