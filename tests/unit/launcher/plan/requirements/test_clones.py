"""Two clones of a project have one record of what was resolved, and what was recorded before that stays pinned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from wheel_project import PLATFORM, Project

from launcher.config.spec import Index
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock
from launcher.plan.requirements import resolve as resolving
from launcher.plan.requirements.lock_file import current_lock, lock_file_text
from launcher.plan.requirements.requirement_lines import RequirementRequest, RequirementSet, read_requirements
from launcher.plan.requirements.resolve import older_request_digest, resolve
from runtime.state_dir import StateDir

PYTHON = BasePython("3.13.5", PLATFORM)
INDEX = {
    "nothing": Index(),
    "constraints": Index(constraints=("limits.txt",)),
}


class Clones:
    """A repository and copies of it, on a machine with one index: a directory of wheels."""

    def __init__(self, directory: Path) -> None:
        self.machine = Project(directory / "machine")
        self.pinning = Pinning(StateDir(directory / "state"), self.machine.environ)

    def resolve(self, clone: Path, *, index: Index = INDEX["nothing"]) -> Lock:
        absolute = Index(constraints=tuple(str(clone / name) for name in index.constraints))
        return resolve(self.request(clone)._replace(indexes=absolute), PYTHON, self.pinning)

    @staticmethod
    def request(clone: Path) -> RequirementRequest:
        return RequirementRequest([f"-r {clone}/requirements.txt"], clone)  # absolute, as the configuration has it


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    (tmp_path / "machine").mkdir()
    return Clones(tmp_path)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    clone = tmp_path / "first"
    clone.mkdir()
    (clone / "requirements.txt").write_text("app\n")
    (clone / "pyproject.toml").write_text("[tool.uv]\nprerelease = 'allow'\n")
    (clone / "limits.txt").write_text("lib<2\n")
    return clone


@pytest.mark.parametrize("index", INDEX.values(), ids=INDEX.keys())
def test_a_second_clone_asks_nobody(clones: Clones, first: Path, tmp_path: Path, index: Index) -> None:
    made = clones.resolve(first, index=index)
    second = shutil.copytree(first, tmp_path / "deeper/second")
    found = clones.resolve(second, index=index)
    assert ("recorded", made.wheels) == (found.source, found.wheels)


@pytest.mark.parametrize("changed", ["requirements.txt", "pyproject.toml", "limits.txt"])
def test_a_clone_that_says_something_else_is_resolved_anew(clones: Clones, first: Path, tmp_path: Path, changed: str) -> None:
    clones.resolve(first, index=INDEX["constraints"])
    second = shutil.copytree(first, tmp_path / "second")
    (second / changed).write_text({"pyproject.toml": "[tool.uv]\n"}.get(changed, "lib<1.1\n"))
    assert "resolved" == clones.resolve(second, index=INDEX["constraints"]).source


def test_what_was_recorded_with_its_place_stays_pinned(clones: Clones, first: Path) -> None:
    made = clones.resolve(first)
    records = clones.pinning.state.cache / "locks"
    (record,) = records.glob("*.json")
    wanted = read_requirements(clones.request(first))
    older = resolving._older_key(clones.request(first), wanted, PYTHON, clones.machine.environ, first, [None, None])
    record.rename(records / f"{older.hex}.json")
    found = clones.resolve(first)
    assert ("recorded", made.wheels) == (found.source, found.wheels)


def test_a_lock_file_with_whole_paths_in_its_inputs_is_current(clones: Clones, first: Path) -> None:
    request = clones.request(first)
    wanted: RequirementSet = read_requirements(request)
    text = lock_file_text(clones.resolve(first), inputs=older_request_digest(request, wanted, PYTHON), command="launch lock")
    (first / "x.lock").write_text(text)
    assert current_lock(first / "x.lock", request, PYTHON)[0] is not None
