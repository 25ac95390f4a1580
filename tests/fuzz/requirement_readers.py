"""Harnesses of the locks and lists that other tools keep: poetry.lock, pdm.lock, Pipfile.lock, conda's environment.yml."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import Harness

from launcher.errors import LaunchError
from launcher.plan.requirements.formats.conda_environment import read_environment
from launcher.plan.requirements.formats.pinned_document import pinned_document
from launcher.plan.requirements.formats.pipfile_lock import read_pipfile_lock
from launcher.plan.requirements.formats.requirements_file import parse_file
from launcher.plan.requirements.target import parse_target

_TARGET = parse_target("3.13.5", "x86_64-manylinux_2_41")
_PROJECT = '[project]\nname = "p"\nversion = "1"\ndependencies = ["six>=1"]\n'


def _no_uv(_words: Sequence[str]) -> str:
    raise AssertionError("these need no uv")


def _of_lock(name: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            (Path(directory) / name).write_bytes(content)
            (Path(directory) / "pyproject.toml").write_text(_PROJECT)
            file = parse_file(name, Path(directory))
            if name == "Pipfile.lock":
                read_pipfile_lock(file)
            else:
                pinned_document(file, _TARGET, uv=_no_uv)

    return read


def _conda(content: bytes) -> None:
    read_environment(Path("environment.yml"), content.decode("utf-8", "replace"))


_FILE = '{file = "six-1.17.0-py2.py3-none-any.whl", hash = "sha256:%s"}' % ("a" * 64)
_POETRY = f"""[[package]]
name = "six"
version = "1.17.0"
optional = false
python-versions = ">=3.8"
groups = ["main"]
markers = "python_version >= '3.8'"
files = [{_FILE}]

[package.dependencies]
attrs = {{version = "^23.1", markers = "sys_platform == 'win32'"}}
idna = [{{version = "~3.1", python = "<3.9"}}]

[package.extras]
more = ["attrs (>=1)"]

[package.source]
type = "legacy"
url = "http://index/simple"
reference = "mine"

[metadata]
lock-version = "2.1"
python-versions = "^3.11 || 3.13.*"
content-hash = "b"
"""
_PDM = f"""[metadata]
groups = ["default"]
lock_version = "4.5.0"
content_hash = "sha256:c"

[[package]]
name = "six"
version = "1.17.0"
requires_python = ">=3.8"
marker = "python_version >= '3.8'"
dependencies = ["attrs>=1; sys_platform == 'win32'", "six"]
files = [{_FILE}]
"""
_PIPFILE = json.dumps(
    {
        "_meta": {"pipfile-spec": 6, "sources": [{"name": "a", "url": "http://index/simple"}]},
        "default": {
            "six": {"hashes": ["sha256:" + "a" * 64], "version": "==1.17.0", "markers": "python_version >= '3.8'", "index": "a"},
            "a": {"git": "http://host/a.git", "ref": "b" * 40, "extras": ["x"]},
        },
    }
).encode()
_CONDA = b"""name: a
channels: [conda-forge]
dependencies:
  - python=3.13.*
  - pip
  - pip:
      - six>=1
      - -r other.txt
"""
_TOML = (b"[[package]]\n", b"[metadata]\n", b"files = [", b"source = {", b"dependencies = ", b'"*"', b"^", b"~=", b" || ")

HARNESSES = (
    Harness("poetry.lock", _of_lock("poetry.lock"), (LaunchError,), (_POETRY.encode(),), _TOML),
    Harness("pdm.lock", _of_lock("pdm.lock"), (LaunchError,), (_PDM.encode(),), _TOML),
    Harness("Pipfile.lock", _of_lock("Pipfile.lock"), (LaunchError,), (_PIPFILE,), is_json=True),
    Harness("environment.yml", _conda, (LaunchError,), (_CONDA,), (b"&a ", b"*a", b"<<: ", b"- pip:\n", b"2026-99-99", b"::")),
)
