"""Requirements that are trees of sources: which lines name one, and what of it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.plan.requirements.project_files import metadata_texts, read_by_build
from launcher.plan.requirements.requirement_lines import RequirementRequest, RequirementSet, read_requirements
from launcher.plan.requirements.tree_lines import TreeLine


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in (".", "libs/x"):
        (tmp_path / "code" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name / "pyproject.toml").write_text(f'[project]\nname = "{name.strip("./") or "mine"}"\n')
    return tmp_path / "code"


def read(code: Path, *lines: str) -> RequirementSet:
    return read_requirements(RequirementRequest(lines, code))


@pytest.mark.parametrize(
    ("line", "tree"),
    [
        (".", TreeLine(".", ".")),
        ("-e .", TreeLine("-e .", ".", editable=True)),
        ("--editable=./libs/x", TreeLine("--editable=./libs/x", "libs/x", editable=True)),
        ("-e libs/x", TreeLine("-e libs/x", "libs/x", editable=True)),
        ("-e .[dev,test]", TreeLine("-e .[dev,test]", ".", extras="[dev,test]", editable=True)),
        ("./libs/x ; python_version > '3'", TreeLine("./libs/x ; python_version > '3'", "libs/x", marker="python_version > '3'")),
        ("x @ file:./libs/x", TreeLine("x @ file:./libs/x", "libs/x", "x")),
        ("x[a] @ git+https://h/x@v1", TreeLine("x[a] @ git+https://h/x@v1", "git+https://h/x@v1", "x", "[a]")),
        ("git+https://h/x#egg=name", TreeLine("git+https://h/x#egg=name", "git+https://h/x#egg=name", "name")),
        ("-e git+ssh://git@h/x", TreeLine("-e git+ssh://git@h/x", "git+ssh://git@h/x", editable=True)),
    ],
)
def test_a_line_names_a_tree(code: Path, line: str, tree: TreeLine) -> None:
    assert (tree,) == read(code, line).trees


@pytest.mark.parametrize(
    "line",
    ["numpy", "numpy[x]>=2 ; python_version > '3'", "x @ https://h/x.whl", "./wheels/x.whl", "x @ file:///w/x.whl", "libs"],
)
def test_a_line_names_a_file_or_a_package(code: Path, line: str) -> None:
    assert () == read(code, line).trees


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-e ./nope", "no directory `./nope`"),
        ("-e name", "no directory `name`"),
        ("-e https://h/x.zip", "neither a directory nor a git repository"),
        ("x @ hg+https://h/x", "only git"),
        ("..", "neither pyproject.toml nor setup.py"),
    ],
)
def test_a_line_that_cannot_be_is_refused_by_name(code: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(code, line)


def test_a_directory_outside_of_the_code_is_refused_with_a_way_out(code: Path) -> None:
    other = code.parent / "other"
    other.mkdir()
    (other / "setup.py").write_text("")
    with pytest.raises(ConfigError, match="outside of the code") as failed:
        read(code, "-e ../other")
    assert "code.root" in (failed.value.hint or "")


def test_lines_of_files_take_the_place_of_the_file_where_they_name_a_tree(code: Path) -> None:
    (code / "requirements").mkdir()
    (code / "requirements/dev.txt").write_text("-r plain.txt\n-e .\npytest\n")
    (code / "requirements/plain.txt").write_text("numpy\n")
    found = read_requirements(RequirementRequest("requirements/dev.txt", code))
    assert (f"-r {code}/requirements/plain.txt", "-e .", "pytest") == found.lines
    assert ["."] == [tree.place for tree in found.trees]
    assert (f"-r {code}/requirements/plain.txt",) == read_requirements(RequirementRequest("requirements/plain.txt", code)).lines


def test_what_a_package_needs_is_part_of_the_question_and_its_modules_are_not(code: Path) -> None:
    before = read(code, "-e .").digest
    (code / "train.py").write_text("x = 1\n")
    assert before == read(code, "-e .").digest
    (code / "pyproject.toml").write_text('[project]\nname = "mine"\ndependencies = ["idna"]\n')
    assert before != read(code, "-e .").digest


def test_files_with_dependencies_count_where_a_project_names_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools.dynamic]\ndependencies = {file = ["requirements.txt"]}\n')
    (tmp_path / "requirements.txt").write_text("idna\n")
    (tmp_path / "other.txt").write_text("")
    assert ["pyproject.toml", "requirements.txt"] == [name for name, _ in metadata_texts(tmp_path)]


FILES = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "train.py",
    "conf/x.yaml",
    "src/pkg/__init__.py",
    "src/pkg/model.py",
    "src/pkg/version.py",
    "src/pkg/_fast.c",
    "src/pkg/weights.bin",
)
BY_ITSELF = {"pyproject.toml", "setup.py", "README.md", "src/pkg/_fast.c"}


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        ({"pyproject.toml": '[project.scripts]\nrun = "pkg.model:main"\n'}, set()),
        ({"pyproject.toml": 'version = {attr = "pkg.version.VERSION"}\n'}, {"src/pkg/version.py"}),
        ({"pyproject.toml": 'version = {attr = "pkg.__version__"}\n'}, {"src/pkg/__init__.py"}),
        ({"setup.cfg": "version = attr: pkg.version.VERSION\n"}, {"src/pkg/version.py"}),
        ({"pyproject.toml": '[tool.hatch.version]\npath = "src/pkg/version.py"\n'}, {"src/pkg/version.py"}),
        ({"setup.py": 'exec(open(os.path.join("src", "pkg", "version.py")).read())\n'}, {"src/pkg/version.py"}),
        ({"setup.py": "from pkg.version import VERSION\n"}, {f"src/pkg/{name}.py" for name in ("__init__", "model", "version")}),
        ({"pyproject.toml": 'backend-path = ["."]\n'}, {"train.py"}),
        ({"pyproject.toml": 'backend-path = ["src/pkg"]\n'}, {path for path in FILES if path.startswith("src/pkg/")}),
        ({"pyproject.toml": 'build-backend = "flit_core.buildapi"\n'}, {"src/pkg/__init__.py"}),
    ],
)
def test_a_build_can_read_what_its_files_name(texts: dict[str, str], more: set[str]) -> None:
    assert BY_ITSELF | more == set(read_by_build(FILES, texts))
