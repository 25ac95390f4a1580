"""poetry.lock, pdm.lock and Pipfile.lock of small projects: what one Python needs of them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from wheel_project import PLATFORM, Project, names

from launcher.errors import ConfigError
from launcher.plan.requirements.formats.pinned_document import pinned_document
from launcher.plan.requirements.formats.project_indexes import project_indexes
from launcher.plan.requirements.formats.requirements_file import RequirementsFile, parse_file
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import wheel_source
from launcher.plan.requirements.target import parse_target

POETRY = """\
[tool.poetry]
name = "mine"
version = "1"
[tool.poetry.dependencies]
python = ">=3.9,<3.14"
app = {version = "^1.0", extras = ["fast"]}
num = [{version = "^1.26", python = "<3.12"}, {version = "^2.1", python = ">=3.12"}]
nice = {version = "*", optional = true}
[tool.poetry.extras]
pretty = ["nice"]
[tool.poetry.group.dev.dependencies]
check = "*"
"""


def entry(name: str, version: str, more: str = "", *, files: str = "files") -> str:
    wheel = f'{{file = "{name}-{version}-py3-none-any.whl", hash = "sha256:{hashlib.sha256(name.encode()).hexdigest()}"}}'
    own = f"{files} = [{wheel}]\n" if files else ""
    return f'[[package]]\nname = "{name}"\nversion = "{version}"\noptional = false\npython-versions = ">=3.8"\n{own}{more}\n'


APP = """\
[package.dependencies]
old = {version = "*", markers = "python_version < \\"3.12\\""}
quick = {version = ">=1", optional = true, markers = "extra == \\"fast\\""}
wind = {version = "*", markers = "sys_platform == \\"win32\\""}
[package.extras]
fast = ["quick (>=1)"]
"""
PACKAGES = (
    ("app", "1.4", APP),
    ("quick", "1.0", '[package.dependencies]\ndeep = "^3"\n'),
    *((name, "3.1" if name == "deep" else "1.0", "") for name in ("deep", "old", "wind", "nice", "check")),
)


def poetry_lock(version: str) -> str:
    old = version == "1.1"
    packages = [entry(*package, files="" if old else "files") for package in PACKAGES]
    for number, marker in (("1.26.4", "<"), ("2.5.0", ">=")):
        only = f'markers = "python_version {marker} \\"3.12\\""\n' if version == "2.1" else ""
        packages.append(entry("num", number, only, files="" if old else "files"))
    tail = f'[metadata]\nlock-version = "{version}"\npython-versions = ">=3.9,<3.14"\ncontent-hash = "00"\n'
    if old:
        wheels: dict[str, list[str]] = {}
        for name, number in [*((each[0], each[1]) for each in PACKAGES), ("num", "1.26.4"), ("num", "2.5.0")]:
            wheels.setdefault(name, []).append(f'{{file = "{name}-{number}-py3-none-any.whl", hash = "sha256:{"0" * 64}"}}')
        tail += "[metadata.files]\n" + "".join(f"{name} = [{', '.join(files)}]\n" for name, files in wheels.items())
    return "\n".join(packages) + tail


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pyproject.toml").write_text(POETRY)
    return Project(tmp_path)


@pytest.mark.parametrize("version", ["1.1", "2.0", "2.1"])
def test_a_poetry_lock_is_walked_from_what_the_project_asks_for(project: Project, version: str) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock(version))
    lock = project.resolve(requirements="poetry.lock")
    assert ["app 1.4", "deep 3.1", "num 2.5.0", "quick 1.0"] == names(lock)
    older = project.resolve(requirements="poetry.lock", version="3.11.2")
    assert ["app 1.4", "deep 3.1", "num 1.26.4", "old 1.0", "quick 1.0"] == names(older)
    assert ["num-1.26.4-py3-none-any.whl"] == [wheel.filename for wheel in older.wheels if wheel.name == "num"]


def test_extras_and_groups_are_asked_for_behind_the_name(project: Project) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    lock = project.resolve(requirements="poetry.lock --extra pretty --group dev")
    assert {"nice 1.0", "check 1.0"} == set(names(lock)) - set(names(project.resolve(requirements="poetry.lock")))
    with pytest.raises(ConfigError, match="has no group `develop`") as failed:
        project.resolve(requirements="poetry.lock --group develop")
    assert "did you mean `dev`?" == failed.value.hint


def test_a_lock_joins_other_requirements_in_a_list(project: Project) -> None:
    (project.directory / "poetry.lock").write_text(
        entry("lib", "1.0") + '[metadata]\nlock-version = "2.1"\npython-versions = "*"\n'
    )
    (project.directory / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\ndependencies = ["lib"]\n')
    lock = project.resolve("-r poetry.lock", "app")
    assert ["app 1.0", "lib 1.0"] == names(lock)
    assert hashlib.sha256(b"lib").hexdigest() == lock.wheels[1].sha256  # the lock's own file


def test_what_the_base_has_is_left_out_with_what_only_that_needs(project: Project) -> None:
    from launcher.plan.bases.base_packages import BasePackage

    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    lock = project.resolve(requirements="poetry.lock", installed=(BasePackage("app", "1.4"),))
    assert (["num 2.5.0"], (("app", "1.4"),)) == (names(lock), lock.provided)


def test_a_poetry_lock_for_other_pythons_says_which_would_do(project: Project) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    with pytest.raises(ConfigError, match=r"`.*poetry\.lock` is for Python >=3\.9,<3\.14, and the base has 3\.14\.1") as failed:
        project.resolve(requirements="poetry.lock", version="3.14.1")
    assert "`image.python=3.13`" in (failed.value.hint or "")


def test_a_stale_lock_names_what_is_missing(project: Project) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    (project.directory / "pyproject.toml").write_text(
        POETRY.replace("[tool.poetry.extras]", 'newer = "^1"\n[tool.poetry.extras]')
    )
    with pytest.raises(ConfigError, match=r"poetry\.lock` has no `newer` for Python 3\.13, and the project needs it") as failed:
        project.resolve(requirements="poetry.lock")
    assert "`poetry lock` makes it again" == failed.value.hint


def test_an_unknown_lock_version_is_refused(project: Project) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1").replace('lock-version = "2.1"', 'lock-version = "3.0"'))
    with pytest.raises(ConfigError, match=r"has lock-version 3\.0, which is not known"):
        project.resolve(requirements="poetry.lock")


def test_a_project_in_poetrys_words_alone_is_resolved_without_a_lock(project: Project) -> None:
    text = '[tool.poetry]\nname = "mine"\n[tool.poetry.dependencies]\npython = "^3.9"\napp = "~1.0"\n'
    (project.directory / "pyproject.toml").write_text(text + '[tool.poetry.group.dev.dependencies]\nlib = "1.0"\n')
    assert ["app 1.0", "lib 1.1"] == names(project.resolve(requirements="pyproject.toml"))
    assert ["app 1.0", "lib 1.0"] == names(project.resolve(requirements="pyproject.toml --group dev"))


PDM = """\
[project]
name = "mine"
version = "1"
dependencies = ["app[fast]>=1", "wind; sys_platform == 'win32'"]
[project.optional-dependencies]
pretty = ["nice"]
[tool.pdm.dev-dependencies]
dev = ["check"]
"""


def pdm_lock(*, files_at_end: bool = False) -> str:
    files = "" if files_at_end else "files"
    named = ("app", "quick", "nice", "check", "wind")
    packages = [entry(name, "1.0", files=files) for name in named]
    packages.append(
        entry(
            "app", "1.0", 'extras = ["fast"]\ndependencies = ["app==1.0", "quick>=1; python_version >= \\"3.9\\""]\n', files=files
        )
    )
    if not files_at_end:
        return "\n".join(packages) + '[metadata]\nlock_version = "4.5.0"\n'
    listed = "".join(
        f'"{name} 1.0" = [{{url = "https://x.test/{name}-1.0-py3-none-any.whl", hash = "sha256:{"0" * 64}"}}]\n' for name in named
    )
    return "\n".join(packages) + f'[metadata]\nlock_version = "4.0"\n[metadata.files]\n{listed}'


@pytest.mark.parametrize("files_at_end", [True, False], ids=["lock version 4.0", "lock version 4.5"])
def test_a_pdm_lock_has_an_entry_for_extras(project: Project, files_at_end: bool) -> None:
    (project.directory / "pyproject.toml").write_text(PDM)
    (project.directory / "pdm.lock").write_text(pdm_lock(files_at_end=files_at_end))
    assert ["app 1.0", "quick 1.0"] == names(project.resolve(requirements="pdm.lock"))
    everything = project.resolve(requirements="pdm.lock --extra pretty --group dev")
    assert ["app 1.0", "check 1.0", "nice 1.0", "quick 1.0"] == names(everything)


def pipfile_lock(project: Project, **hashes: str) -> dict[str, object]:
    known = {
        name: hashlib.sha256((project.wheels / f"{name}-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        for name in ("app", "lib")
    } | hashes
    section = {name: {"hashes": [f"sha256:{digest}"], "version": "==1.0"} for name, digest in known.items()}
    wind = {"wind": {"markers": "sys_platform == 'win32'", "version": "*"}}
    sources = [{"name": "pypi", "url": "https://public.test/simple"}, {"name": "lab", "url": "https://lab.test/simple"}]
    lib = section.pop("lib")
    return {"_meta": {"pipfile-spec": 6, "sources": sources}, "default": {**section, **wind}, "develop": {"lib": lib}}


def test_a_pipfile_lock_takes_the_files_whose_hashes_it_has(project: Project) -> None:
    path = project.directory / "Pipfile.lock"
    path.write_text(json.dumps(pipfile_lock(project)))
    assert ["app 1.0"] == names(project.resolve(requirements="Pipfile.lock"))
    assert ["app 1.0", "lib 1.0"] == names(project.resolve(requirements="Pipfile.lock --group develop"))
    assert (("extra-index-url", "https://lab.test/simple"),) == project_indexes(
        parse_file("Pipfile.lock", project.directory)
    ).options
    path.write_text(json.dumps(pipfile_lock(project, app="1" * 64)))
    with pytest.raises(ConfigError, match=r"no file of `app==1\.0` has a hash of the Pipfile\.lock"):
        project.resolve(requirements="Pipfile.lock")


def test_a_download_asks_the_indexes_of_the_project(project: Project) -> None:
    source = '[[tool.poetry.source]]\nname = "lab"\nurl = "https://lab.test/simple"\npriority = "supplemental"\n'
    (project.directory / "pyproject.toml").write_text(POETRY + source)
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    lock = project.resolve(requirements="poetry.lock")
    wheels = wheel_source(lock, RequirementRequest("poetry.lock", project.directory), environ=project.environ)
    assert "https://lab.test/simple" in wheels.env["UV_EXTRA_INDEX_URL"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("poetry.lock", "not [ toml", r"poetry\.lock` is not TOML"),
        ("pdm.lock", "x = 1", r"pdm\.lock` has lock_version \?, which is not known"),
        ("Pipfile.lock", "{", r"Pipfile\.lock` is no Pipfile\.lock: "),
        ("settings.toml", "x = 1", r"settings\.toml` is no pylock\.toml \(PEP 751\): it has no `packages`"),
        ("uv.lock", "not [ toml", r"uv\.lock` is not TOML"),
        ("setup.py", "", r"setup\.py` states no requirements that can be read"),
        ("train.py", "", r"train\.py` states no requirements that can be read"),
        ("Pipfile", "", r"Pipfile` states no requirements that can be read"),
        ("conda-lock.yml", "", r"conda-lock\.yml` states no requirements that can be read"),
        ("environment.yml", "a: [", r"environment\.yml` is not YAML"),
        ("conf.yaml", "lr: 1", r"conf\.yaml` is no environment\.yml: it has no list `dependencies`"),
        ("requirements.txt", "caf\udce9", r"requirements\.txt` is not UTF-8 text"),
        ("poetry.lock --what x", "", r"`--what x` behind `.*poetry\.lock` is none of its parts"),
        ("Pipfile.lock --extra x", "", r"`--extra x` means nothing for `.*Pipfile\.lock`"),
    ],
)
def test_a_file_of_the_wrong_kind_is_named(project: Project, name: str, text: str, says: str) -> None:
    (project.directory / name.partition(" ")[0]).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=says):
        project.resolve(requirements=name)


BUILD = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'


@pytest.mark.parametrize("place", ["mine", "src/mine"])
def test_the_projects_own_package_is_installed_as_its_tool_does(project: Project, place: str) -> None:
    (project.directory / "poetry.lock").write_text(poetry_lock("2.1"))
    (project.directory / "pyproject.toml").write_text(POETRY + BUILD)
    file = parse_file("poetry.lock", project.directory)
    assert "mine" not in packages_of(file)
    (project.directory / place).mkdir(parents=True)
    assert {"path": str(project.directory), "editable": True} == packages_of(file)["mine"]["directory"]
    (project.directory / "pyproject.toml").write_text(
        POETRY.replace('version = "1"', 'version = "1"\npackage-mode = false') + BUILD
    )
    assert "mine" not in packages_of(file)


def packages_of(file: RequirementsFile) -> dict[str, dict[str, Any]]:
    document = pinned_document(file, parse_target("3.13.5", PLATFORM), uv=lambda words: "")
    return {package["name"]: package for package in document["packages"]}


UV_PROJECT = """\
[project]
name = "mine"
version = "1"
requires-python = ">=3.9"
dependencies = ["lib"]
[project.optional-dependencies]
pretty = ["app"]
[dependency-groups]
train = ["app"]
dev = ["nothing-that-exists-is-asked-for"]
[tool.uv]
package = false
"""
UV_LOCK = """\
version = 1
requires-python = ">=3.9"
[[package]]
name = "app"
version = "1.0"
source = { registry = "https://x.test/simple" }
wheels = [{ url = "https://x.test/app-1.0-py3-none-any.whl", hash = "sha256:%(hash)s" }]
[[package]]
name = "lib"
version = "1.0"
source = { registry = "https://x.test/simple" }
wheels = [{ url = "https://x.test/lib-1.0-py3-none-any.whl", hash = "sha256:%(hash)s" }]
[[package]]
name = "mine"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "lib" }]
[package.optional-dependencies]
pretty = [{ name = "app" }]
[package.dev-dependencies]
train = [{ name = "app" }]
[package.metadata]
requires-dist = [{ name = "app", marker = "extra == 'pretty'" }, { name = "lib" }]
provides-extras = ["pretty"]
[package.metadata.requires-dev]
train = [{ name = "app" }]
"""


def test_parts_of_a_uv_lock_are_uvs_to_choose(project: Project) -> None:
    (project.directory / "pyproject.toml").write_text(UV_PROJECT)
    (project.directory / "uv.lock").write_text(UV_LOCK % {"hash": "0" * 64})
    assert ["lib 1.0"] == names(project.resolve(requirements="uv.lock"))
    for part in ("--extra pretty", "--group train"):
        assert ["app 1.0", "lib 1.0"] == names(project.resolve(requirements=f"uv.lock {part}"))
    with pytest.raises(ConfigError, match=r"uv\.lock` can't be used: Group `training`"):
        project.resolve(requirements="uv.lock --group training")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poetry.lock", '[[package]]\nversion = "1"\n[metadata]\nlock-version = "2.1"\npython-versions = "*"\n'),
        ("poetry.lock", 'package = 1\n[metadata]\nlock-version = "2.1"\npython-versions = "*"\n'),
        ("poetry.lock", '[[package]]\nname = "app"\nversion = "one"\n[metadata]\nlock-version = "2.1"\n'),
        ("poetry.lock", 'metadata = "2.1"\n'),
        ("pdm.lock", '[[package]]\nname = "app"\nversion = "1"\ndependencies = ["?"]\n[metadata]\nlock_version = "4.5"\n'),
        ("pdm.lock", '[[package]]\nname = "app"\nversion = "1"\nmarker = "so"\n[metadata]\nlock_version = "4.5"\n'),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}, "default": {"app": "1.0"}}'),
        ("Pipfile.lock", '{"_meta": [], "default": {}}'),
        ("pylock.toml", "packages = [1]\n"),
    ],
)
def test_a_damaged_lock_is_named_with_the_command_that_writes_it(project: Project, name: str, text: str) -> None:
    (project.directory / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"`.*{re.escape(name)}` (is damaged: |is no |has no `)") as failed:
        project.resolve(requirements=name)
    assert "writes it" in (failed.value.hint or "") or "makes it again" in (failed.value.hint or "") or name == "pylock.toml"


def test_groups_that_include_each_other_are_read_once(project: Project) -> None:
    groups = "".join(f'g{n} = [{{include-group = "g{n + 1}"}}, {{include-group = "g{n + 1}"}}]\n' for n in range(60))
    text = f'[project]\nname = "mine"\nversion = "1"\n[dependency-groups]\n{groups}g60 = ["lib", {{include-group = "g0"}}]\n'
    (project.directory / "pyproject.toml").write_text(text)
    (project.directory / "poetry.lock").write_text(
        entry("lib", "1.0") + '[metadata]\nlock-version = "2.1"\npython-versions = "*"\n'
    )
    assert ["lib 1.0"] == names(project.resolve(requirements="poetry.lock --group g0"))
