"""Configurations that would hold a composition up, or that no program and no record could take.

They are refused by the file that has them, and no burden to the other experiments of the project.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from launcher.config.project import list_experiments
from launcher.errors import ConfigError
from tests.unit.launcher.config.conftest import Project, shown

_HEAD = "# @package _global_\ncommand: echo\n"
_LEVELS = "".join(f"  a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10))
_MOST_S = 5.0
"""Of processor time; it takes a tenth of a second, and took minutes."""

_TOO_MANY = "error: more than 10000 keys and values, those included that aliases (`*NAME`) repeat\n"

_FILES = {
    "alias bomb": (
        f"{_HEAD}params:\n  a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n{_LEVELS}".encode(),
        f"{_TOO_MANY}  --> conf/experiment/mine.yaml:8",
    ),
    "100,000 keys": (
        (_HEAD + "params:\n" + "".join(f"  {key:x}: 1\n" for key in range(100_000))).encode(),
        f"{_TOO_MANY}  --> conf/experiment/mine.yaml:5001",
    ),
    "2 MB": (
        (_HEAD + "#" * 2_000_000).encode(),
        "error: a configuration file of more than 1 MiB\n  --> conf/experiment/mine.yaml",
    ),
    "3,000 nested brackets": (
        f"{_HEAD}params:\n  a: {'[' * 3000}{']' * 3000}\n".encode(),
        "error: not YAML: exceeded maximum nesting depth\n  --> conf/experiment/mine.yaml:4",
    ),
    "300 nested mappings": (
        f"{_HEAD}params:\n  a: {'{a: ' * 300}1{'}' * 300}\n".encode(),
        "error: more than 50 lists and mappings, one within the other\n  --> conf/experiment/mine.yaml:4",
    ),
    "a value in itself": (
        f"{_HEAD}params: &p\n  a: *p\n".encode(),
        "error: `*p` stands in what it names: such a value has no end\n  --> conf/experiment/mine.yaml:4",
    ),
    "not UTF-8": (
        _HEAD.encode() + b"description: caf\xe9\n",
        "error: not UTF-8: the byte `\\xe9`\n  --> conf/experiment/mine.yaml:3\n\nhint: save the file as UTF-8",
    ),
    "NUL in env": (
        f'{_HEAD}env:\n  A: "a\\0b"\n'.encode(),
        "error: `env.A` holds a NUL, which no program can be given: 'a\\x00b'\n  --> conf/experiment/mine.yaml:4",
    ),
    "NUL in the command": (
        b'# @package _global_\ncommand: "echo a\\0b ${seed}"\n',
        "error: `command` holds a NUL, which no program can be given: 'echo a\\x00b ${seed}'\n  --> conf/experiment/mine.yaml:2",
    ),
    "a target in /proc": (
        f"{_HEAD}data:\n  a: {{source: /tmp, target: /proc/self/cwd}}\n".encode(),
        "error: `data.a.target` is `/proc/self/cwd`: not a place of yours\n  --> conf/experiment/mine.yaml:4",
    ),
    "a target with dots": (
        f"{_HEAD}data:\n  a: {{source: /tmp, target: /data/../../etc}}\n".encode(),
        "error: `data.a.target` is `/data/../../etc`: not a plain path in the container\n  --> conf/experiment/mine.yaml:4",
    ),
}


@pytest.mark.parametrize("name", _FILES)
def test_it_is_refused_soon_with_its_line(project: Project, name: str) -> None:
    content, expected = _FILES[name]
    _write(project, content)
    begun = time.process_time()
    with pytest.raises(ConfigError) as refused:
        project.load("experiment=mine")
    assert time.process_time() - begun < _MOST_S
    assert shown(refused.value).startswith(expected)


@pytest.mark.parametrize("name", _FILES)
def test_other_experiments_are_launched_and_listed_beside_it(project: Project, name: str) -> None:
    content, _ = _FILES[name]
    _write(project, content)
    project.experiment("description: well\ncommand: echo", name="other")
    begun = time.process_time()
    assert ("echo",) == project.load("experiment=other").spec.command
    listed = {each.name: each.description for each in list_experiments(config_dir=None, cwd=project.root, environ={})}
    assert time.process_time() - begun < _MOST_S
    assert listed["other"] == "well"
    assert "mine" in listed


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param(
            "params.a=" + "[" * 3000 + "]" * 3000, "error: an override with more than 50 brackets", id="nested brackets"
        ),
        pytest.param(
            "+params.a=[" + "1," * 30_000 + "1]", "error: an override of 60013 characters, more than 20000", id="long list"
        ),
        pytest.param("env.A='\udcff'", "error: not UTF-8: \"env.A='\\udcff'\"", id="not UTF-8"),
        pytest.param("env.A=${oc.env:ODD}", "error: the environment variable `ODD` is not UTF-8", id="a variable not UTF-8"),
    ],
)
def test_an_override_of_that_kind_is_refused(project: Project, typed: str, expected: str) -> None:
    project.experiment("command: echo")
    with pytest.raises(ConfigError) as refused:
        project.load("experiment=mine", typed, environ={"ODD": "\udcfe"})
    assert shown(refused.value).startswith(expected)


def test_a_description_is_found_behind_other_values(tmp_path: Path) -> None:
    file = tmp_path / "conf/experiment/a.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: description\nparams: {description: inner, b: [1]}\ndescription: 'mine: it'\n")
    (found,) = (each for each in list_experiments(config_dir=None, cwd=tmp_path, environ={}) if each.name == "a")
    assert "mine: it" == found.description


def _write(project: Project, content: bytes) -> None:
    project.experiment("")
    (project.root / "conf/experiment/mine.yaml").write_bytes(content)
