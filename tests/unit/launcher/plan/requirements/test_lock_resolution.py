"""Resolving with the real uv, against a directory of wheels: no index, no network."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from wheel_project import Project, make_wheel, names

from launcher.errors import ConfigError
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import wheel_source


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_requirements_become_exact_files_for_the_images_python(project: Project) -> None:
    assert ["app 1.0", "lib 1.1"] == names(project.resolve("app"))
    assert ["app 1.0", "lib 1.0"] == names(project.resolve("app", version="3.12.3"))


def test_the_same_question_is_answered_from_the_record(project: Project) -> None:
    first = project.resolve("app")
    second = project.resolve("app")
    assert ("resolved", "recorded") == (first.source, second.source)
    assert (first.wheels, first.digest) == (second.wheels, second.digest)


def test_a_recorded_lock_is_found_in_milliseconds(project: Project) -> None:
    project.resolve("app")
    started = time.perf_counter()
    project.resolve("app")
    assert time.perf_counter() - started < 0.05  # about 0.5 ms on an idle machine


def test_asking_for_a_recorded_lock_imports_nothing_heavy() -> None:
    code = "import sys, launcher.plan.requirements.resolve, launcher.plan.requirements.lock_file; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[5])
    heavy = {
        "subprocess",
        "tempfile",
        "tomllib",
        "packaging",
        "configparser",
        "urllib.request",
        "csv",
        "zipfile",
        "pydantic",
        "hydra",
    }
    assert set() == heavy & set(done.stdout.split())


@pytest.mark.parametrize("change", ["new wheel", "constraint", "requirement", "variable", "pip.conf", "refresh"])
def test_the_record_is_forgotten_when_an_input_changes(project: Project, change: str) -> None:
    limits = project.directory / "limits.txt"
    limits.write_text("lib<2\n")
    project.environ["PIP_CONSTRAINT"] = str(limits)
    project.resolve("app")
    assert "recorded" == project.resolve("app").source
    environ, extra, refresh = {}, (), False
    match change:
        case "new wheel":
            make_wheel(project.wheels, "lib", "1.2")
        case "constraint":
            limits.write_text("lib<1.1\n")
        case "requirement":
            extra = ("lib==1.0",)
        case "variable":
            environ = {"UV_PRERELEASE": "allow"}
        case "pip.conf":
            (project.directory / ".pip").mkdir()
            (project.directory / ".pip/pip.conf").write_text("[global]\npre = false\n")
        case "refresh":
            refresh = True
    assert "resolved" == project.resolve("app", environ=environ, extra=extra, refresh=refresh).source


def test_another_password_in_an_address_is_no_change(project: Project) -> None:
    for password, source in (("one", "resolved"), ("two", "recorded")):
        extra = {"PIP_EXTRA_INDEX_URL": f"https://me:{password}@index.test/simple"}
        assert source == project.resolve("app", environ=extra).source


def test_constraints_of_pip_hold(project: Project) -> None:
    limits = project.directory / "limits.txt"
    limits.write_text("lib<1.1\n")
    assert ["app 1.0", "lib 1.0"] == names(project.resolve("app", environ={"PIP_CONSTRAINT": str(limits)}))


def test_extra_requirements_join_those_of_a_file(project: Project) -> None:
    (project.directory / "requirements.txt").write_text("app\n")
    assert ["app 1.0", "lib 1.0"] == names(project.resolve(requirements="requirements.txt", extra=["lib==1.0"]))


def test_a_projects_dependencies_are_read(project: Project) -> None:
    text = '[project]\nname = "mine"\nversion = "1"\ndependencies = ["app"]\n'
    (project.directory / "pyproject.toml").write_text(text)
    assert ["app 1.0", "lib 1.1"] == names(project.resolve(requirements="pyproject.toml"))


def test_a_pylock_is_taken_as_it_is(project: Project) -> None:
    file = '{ name = "lib-1.0-py3-none-any.whl", url = "https://x.test/lib-1.0-py3-none-any.whl", hashes = { sha256 = "%s" } }'
    text = f'lock-version = "1.0"\n[[packages]]\nname = "lib"\nversion = "1.0"\nwheels = [{file % ("a" * 64)}]\n'
    (project.directory / "pylock.toml").write_text(text)
    assert ["lib 1.0"] == names(project.resolve(requirements="pylock.toml"))


def test_no_requirements_is_an_empty_lock(project: Project) -> None:
    assert () == project.resolve().wheels


def test_what_cannot_be_resolved_is_told_in_uvs_words(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"cannot be resolved: No solution found[\s\S]*lib"):
        project.resolve("lib>=3")


def test_a_requirement_with_source_only_is_not_built_on_this_machine(project: Project) -> None:
    import io
    import tarfile

    canary = project.directory / "canary"
    setup = f"open({str(canary)!r}, 'w')\nfrom setuptools import setup\nsetup(name='src', version='1')\n".encode()
    with tarfile.open(project.wheels / "src-1.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("src-1/setup.py")
        member.size = len(setup)
        archive.addfile(member, io.BytesIO(setup))
    with pytest.raises(ConfigError, match="only source"):
        project.resolve("src")
    assert not canary.exists()


def test_the_download_asks_where_the_resolver_asked(project: Project) -> None:
    lock = project.resolve("app")
    source = wheel_source(lock, RequirementRequest(["app"], project.directory), environ=project.environ)
    assert str(project.wheels) == source.env["UV_FIND_LINKS"]
    assert "--no-index" in source.uv_args
    assert [f"{w.name}==={w.version} --hash=sha256:{w.sha256}" for w in lock.wheels] == source.requirements.splitlines()


def test_a_file_whose_hash_is_required_otherwise_is_refused_and_not_taken(project: Project) -> None:
    digest = next(wheel.sha256 for wheel in project.resolve("app").wheels if wheel.name == "app")
    lines = project.directory / "requirements.txt"
    lines.write_text(f"App==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\nlib==1.1\n")
    assert ["app 1.0", "lib 1.1"] == names(project.resolve(requirements="requirements.txt"))
    lines.write_text(f"App==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ConfigError, match=rf"app-1\.0-py3-none-any\.whl` has sha256 {digest}, which is none of the hashes"):
        project.resolve(requirements="requirements.txt")
