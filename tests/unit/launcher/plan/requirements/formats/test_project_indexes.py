"""A project's own index settings, carried to a download that happens elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.plan.requirements.formats.project_indexes import ProjectIndexes, project_indexes
from launcher.plan.requirements.formats.requirements_file import parse_file

TEXT = """
[[tool.uv.index]]
name = "mirror"
url = "https://mirror.test/simple"
default = true
[[tool.uv.index]]
name = "lab"
url = "https://lab.test/simple"
[[tool.uv.index]]
name = "torch-cpu"
url = "https://torch.test/whl/cpu"
explicit = true
[tool.uv.sources]
Torch_Vision = { index = "torch-cpu" }
torch = [{ index = "torch-cpu", marker = "sys_platform == 'linux'" }]
mine = { path = "../mine" }
"""


def test_open_indexes_become_options_and_bound_packages_are_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(TEXT)
    found = project_indexes(parse_file("uv.lock", tmp_path))
    assert (("index-url", "https://mirror.test/simple"), ("extra-index-url", "https://lab.test/simple")) == found.options
    assert {"torch", "torch-vision"} == found.bound


def test_a_lock_without_a_project_says_nothing(tmp_path: Path) -> None:
    assert ProjectIndexes() == project_indexes(parse_file("pylock.toml", tmp_path))


def test_a_damaged_project_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool")
    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        project_indexes(parse_file("pyproject.toml", tmp_path))
