"""Resolving requirements that are trees of sources, with the real uv and the real git, against a directory of wheels."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from git_repository import WHO, Repository, served_privately
from wheel_project import PLATFORM, Project

from launcher.errors import ConfigError
from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.lock_file import current_lock, lock_file_text, pylock_text
from launcher.plan.requirements.requirement_lines import RequirementRequest, read_requirements
from launcher.plan.requirements.resolve import request_digest, wheel_source
from launcher.plan.requirements.source_trees import source_trees

PYTHON = BasePython("3.13.5", PLATFORM)


def pyproject(name: str, *dependencies: str) -> str:
    return f'[project]\nname = "{name}"\nversion = "2.1"\ndependencies = {json.dumps(dependencies)}\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.environ |= WHO
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit({"pyproject.toml": pyproject("remote", "lib"), "python/pyproject.toml": pyproject("part", "app")})
    return made


def tree_of(lock: Lock, name: str) -> LockedWheel:
    return next(wheel for wheel in lock.wheels if wheel.name == name)


def test_a_repository_is_pinned_by_commit_and_content_with_what_it_needs(project: Project, repository: Repository) -> None:
    lock = project.resolve(f"remote @ {repository.url}@main")
    commit = repository.git("rev-parse", "HEAD")
    remote = tree_of(lock, "remote")
    assert {"remote", "lib"} == {wheel.name for wheel in lock.wheels}
    assert (f"{repository.url}@{commit}", commit[:12], 64) == (remote.url, remote.version, len(remote.sha256))


def test_a_subdirectory_of_a_repository_is_a_package_of_its_own(project: Project, repository: Repository) -> None:
    lock = project.resolve(f"{repository.url}#subdirectory=python", f"remote @ {repository.url}")
    assert {"part", "remote", "app", "lib"} == {wheel.name for wheel in lock.wheels}
    assert (tree_of(lock, "part").url or "").endswith("#subdirectory=python")
    assert tree_of(lock, "part").sha256 == tree_of(lock, "remote").sha256


def test_a_branch_that_moves_changes_nothing_until_it_is_asked_again(project: Project, repository: Repository) -> None:
    line = f"remote @ {repository.url}@main"
    first = project.resolve(line)
    repository.commit({"remote.py": ""})
    assert ("recorded", first.wheels) == ((again := project.resolve(line)).source, again.wheels)
    assert tree_of(first, "remote").url != tree_of(project.resolve(line, refresh=True), "remote").url


def test_a_revision_that_is_not_there_is_the_persons_mistake(project: Project, repository: Repository) -> None:
    with pytest.raises(ConfigError, match="has no revision `v9`"):
        project.resolve(f"remote @ {repository.url}@v9")


def test_a_name_that_the_package_does_not_have_is_told_with_the_repository(project: Project, repository: Repository) -> None:
    with pytest.raises(ConfigError, match=rf"build `other @ git\+file://{repository.root}@[0-9a-f]+`"):
        project.resolve(f"other @ {repository.url}")


def test_a_subdirectory_of_a_repository_is_named_once_in_a_refusal(project: Project, repository: Repository) -> None:
    with pytest.raises(ConfigError, match=rf"build `other @ git\+file://{repository.root}@[0-9a-f]+#subdirectory=python`"):
        project.resolve(f"other @ {repository.url}#subdirectory=python")


def test_a_package_of_the_code_is_a_place_and_its_requirements_are_locked(project: Project) -> None:
    (project.directory / "pyproject.toml").write_text(pyproject("mine", "app"))
    lock = project.resolve("-e .")
    assert {"mine", "app", "lib"} == {wheel.name for wheel in lock.wheels}
    assert LockedWheel.of_code("mine", "-e ./") == tree_of(lock, "mine")
    assert LockedWheel.of_code("mine", "./") == tree_of(project.resolve("."), "mine")


def test_a_package_of_the_code_in_a_requirements_file(project: Project) -> None:
    member = project.directory / "libs/member"
    member.mkdir(parents=True)
    (member / "pyproject.toml").write_text(pyproject("member", "lib"))
    (project.directory / "requirements.txt").write_text("app  # why\n./libs/member\n")
    lock = project.resolve(requirements="requirements.txt")
    assert {"member", "app", "lib"} == {wheel.name for wheel in lock.wheels}
    assert LockedWheel.of_code("member", "./libs/member") == tree_of(lock, "member")


def test_a_member_of_a_workspace_brings_those_that_it_needs(project: Project) -> None:
    for name, needs in (("one", "two"), ("two", "lib")):
        place = project.directory / "packages" / name
        place.mkdir(parents=True)
        source = "[tool.uv.sources]\ntwo = { workspace = true }\n" if needs == "two" else ""
        (place / "pyproject.toml").write_text(pyproject(name, needs) + source)
    workspace = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
    (project.directory / "pyproject.toml").write_text(pyproject("root") + workspace)
    lock = project.resolve("-e packages/one")
    assert {"one", "two", "lib"} == {wheel.name for wheel in lock.wheels}
    assert "packages/two" == tree_of(lock, "two").directory


def test_a_repository_that_a_package_needs_in_a_container_is_fetched_on_this_machine(
    project: Project, repository: Repository, tmp_path: Path
) -> None:
    words = f"Failed to download and build `remote @ {repository.url}@main`\n  cause: Git executable not found. Ensure …"
    with source_trees(project.directory, (), environ=project.environ, cache_dir=tmp_path / "cache") as trees:
        assert [] == trees.overrides()
        assert trees.fetch_what_lacks_git(words)
        option, file = trees.overrides()
        line = Path(file).read_text().strip()
        assert "--override" == option
        assert Path(line.removeprefix("remote @ file://"), "pyproject.toml").is_file()
        assert not trees.fetch_what_lacks_git(words)
        assert not trees.fetch_what_lacks_git("Failed to build `remote`")


def test_a_package_of_the_code_that_asks_git_for_its_version_is_told(tmp_path: Path) -> None:
    code = Repository(tmp_path / "code")
    code.commit({"pyproject.toml": pyproject("mine") + '[build-system]\nrequires = ["setuptools-scm"]\n', "mine.py": "x = 1\n"})
    code.git("tag", "v0.7")
    with source_trees(code.root, (), environ=os.environ, cache_dir=tmp_path / "cache") as trees:
        trees.lines_for_uv(["-e ."])
        copy = trees.directory / "code"
        assert "describe-name: v0.7-0-g" in (copy / ".git_archival.txt").read_text()
        assert "" == (copy / "mine.py").read_text()


def test_nothing_of_a_password_is_locked_or_recorded(
    project: Project, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.directory / "requirements.txt").write_text("remote @ git+http://me:${SECRET}@${PLACE}/.git\n")
    request = RequirementRequest("requirements.txt", project.directory)
    monkeypatch.setenv("SECRET", "s3cret")
    with served_privately(repository) as place:
        monkeypatch.setenv("PLACE", place)
        lock = project.resolve(requirements="requirements.txt")
        assert {f"http://{place}/.git": f"http://me:s3cret@{place}/.git"} == wheel_source(lock, request).git_addresses
    assert (tree_of(lock, "remote").url or "").startswith(f"git+http://{place}/.git@")
    assert "s3cret" not in repr(lock)
    records = [path for path in (project.directory / "state").rglob("*") if path.is_file()]
    assert records
    assert [] == [path for path in records if b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize("file", ["x.lock", "pylock.x.toml"])
def test_a_lock_file_holds_trees(project: Project, repository: Repository, tmp_path: Path, file: str) -> None:
    (project.directory / "pyproject.toml").write_text(pyproject("mine"))
    lines = [f"{repository.url}@main#subdirectory=python", "-e ."]
    lock = project.resolve(*lines)
    request = RequirementRequest(lines, project.directory)
    inputs = request_digest(request, read_requirements(request), PYTHON)
    addresses = {wheel.filename: f"https://x.test/{wheel.filename}" for wheel in lock.wheels}
    texts = {
        "x.lock": lock_file_text(lock, inputs=inputs, command="x"),
        "pylock.x.toml": pylock_text(lock, inputs=inputs, addresses=addresses),
    }
    (tmp_path / file).write_text(texts[file])
    read, why = current_lock(tmp_path / file, request, PYTHON)
    assert read is not None, why
    assert lock.digest == read.digest
    assert [wheel for wheel in lock.wheels if wheel.url] == [wheel for wheel in read.wheels if wheel.url]
    (project.directory / "pyproject.toml").write_text(pyproject("mine", "lib"))
    assert (None, "the requirements have changed since it was made") == current_lock(tmp_path / file, request, PYTHON)
