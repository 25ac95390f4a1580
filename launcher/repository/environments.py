"""Which of a repository's statements about its environment is taken, and what is said of the others.

The order: what is locked, what pip reads, conda's file, the project's metadata, a Dockerfile; else what its README installs or
its program imports.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError
from launcher.plan.dockerfile.expand import unset_names
from launcher.plan.dockerfile.parse import parse
from launcher.plan.requirements.formats.conda_environment import conda_dependencies, load_foreign_yaml
from launcher.repository.distributions import DISTRIBUTIONS
from launcher.repository.imports import Imports
from launcher.repository.source_tree import SourceTree, calls, dotted, literal
from launcher.repository.stated_python import choose_python
from runtime.light_dataclasses import dataclass, field

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock")
_PIP_FILES = ("requirements.txt", "requirements/base.txt", "requirements/requirements.txt", "requirements/train.txt")
_CONDA_FILES = ("environment.yml", "environment.yaml", "conda.yml", "conda.yaml", "env.yml", "env.yaml")
_CONDA_NAMES = {
    "pytorch": "torch",
    "python": "",
    "pip": "",
    "cudatoolkit": "",
    "pytorch-cuda": "",
    "cpuonly": "",
    "tensorflow-gpu": "tensorflow",
}
"""Where conda calls a package otherwise, or has one that an index does not need."""
_RENAMED = {"sklearn": "scikit-learn", "pytorch": "torch", "tensorflow-gpu": "tensorflow"}
_LIBRARIES = {
    "lightgbm": ("libgomp1",),
    "opencv-python": ("libgl1", "libglib2.0-0"),
    "opencv-contrib-python": ("libgl1", "libglib2.0-0"),
    "opencv-python-headless": ("libglib2.0-0",),
}
"""Package → Debian packages with the libraries that its wheel leaves out."""
_FROM_IMPORTS = "its program imports them"

_NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_APT = re.compile(r"apt(?:-get)?\s+install\s+([^&|;\n]+)")
_PIP = re.compile(r"^\s*[$>!%]?\s*`*\s*(?:python3? -m |uv )?pip3?\s+install\s+((?:\\\n|[^&|;`#\n])+)", re.MULTILINE)
_BUILD_FILES = re.compile(r"(?:.*/)?(?:[Mm]akefile|.*\.(?:sh|bash|mk|md|rst|ya?ml))")
"""Where a `docker build` is written down."""
_PLAIN_REQUIREMENT = re.compile(r"[A-Za-z][A-Za-z0-9._-]*(?:\[[\w,-]+\])?(?:[=<>~!]=?[\w.*,<>=!~]+)?")


@dataclass(slots=True)
class Environment:
    """What goes to `image:`."""

    requirements: str | list[str] = field(default_factory=list)
    why: str = ""
    """Where they come from, in words."""
    dockerfile: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    """Of the Dockerfile, that its FROM needs and has no default for."""
    why_args: str = ""
    apt: list[str] = field(default_factory=list)
    why_apt: str = ""
    python: str | None = None
    why_python: str = ""
    others: list[str] = field(default_factory=list)
    """Statements that were found and not taken."""
    package: str | None = None
    """Directory that its own modules are imported from, where that is not the program's: `""` the top, `src`."""
    doubts: list[str] = field(default_factory=list)


def read_environment(tree: SourceTree, imports: Imports | None) -> Environment:
    """What *tree* says, and what the program needs that it does not say."""
    found = _statements(tree)
    environment = Environment(others=found[1:])
    if found and found[0].startswith("Dockerfile"):
        environment.dockerfile, environment.why = found[0], "the only statement of an environment"
        _add_build_arguments(tree, environment, found[0])
    elif found:
        environment.requirements, environment.why = _taken(tree, found[0]), found[0]
    else:
        environment.requirements, environment.why = _guessed(tree, imports)
    if tree.has("Dockerfile") and environment.dockerfile is None:
        environment.apt = _apt_packages(tree.text("Dockerfile"))
        environment.why_apt = "the Dockerfile installs them" if environment.apt else ""
    _add_cog(tree, environment)
    if environment.python is None and environment.dockerfile is None:
        environment.python, environment.why_python = choose_python(
            tree, bounds=_bounds(tree), requirements=_lines(tree, environment.requirements)
        )
    if imports is not None:
        _add_missing(tree, environment, imports)
    _add_libraries(tree, environment)
    if imports is not None:
        environment.package = next(iter(imports.elsewhere), None)
    return environment


def _statements(tree: SourceTree) -> list[str]:
    """All that are there, the one to be taken first."""
    pip_files = [name for name in _PIP_FILES if tree.has(name)]
    pip_files += sorted(name for name in tree.files if re.fullmatch(r"requirements[\w.-]*\.txt", name) and name not in pip_files)
    found = [*(name for name in _LOCKS if tree.has(name)), *pip_files, *(name for name in _CONDA_FILES if tree.has(name))]
    if _project(tree).get("dependencies") or _poetry(tree):
        found.append("pyproject.toml")
    if _install_requires(tree):
        found.append("setup.py")
    return [*found, *(name for name in tree.files if re.fullmatch(r"(?:docker/)?Dockerfile[\w.-]*", name))]


def _taken(tree: SourceTree, name: str) -> str | list[str]:
    if name in _CONDA_FILES:
        return _of_index(tree, name) or name
    return _install_requires(tree) if name == "setup.py" else name


def _of_index(tree: SourceTree, name: str) -> list[str]:
    """The packages of conda's file *name* by their names in an index, where all have one; nothing where only pip's are named."""
    try:
        listed = conda_dependencies(Path(name), tree.text(name))
    except ConfigError:
        return []
    of_conda = [str(each) for each in listed if not isinstance(each, dict)]
    of_pip = [str(each) for part in listed if isinstance(part, dict) for each in _list(part.get("pip"))]
    known, found = {canonicalize_name(each) for each in DISTRIBUTIONS.values()}, []
    for each in of_conda:
        words = re.fullmatch(r"(?:[\w-]+::)?([\w.-]+)\s*(?:=+\s*([\d.]+)\S*|([<>]=?.*))?", each.strip())
        if words is None:
            return []
        package = _CONDA_NAMES.get(words[1], words[1])
        if package and canonicalize_name(package) not in known:
            return []
        if package:
            found.append(package + (f"=={words[2]}" if words[2] and words[2].count(".") > 1 else words[3] or ""))
    return [*found, *of_pip] if found else []


def _project(tree: SourceTree) -> dict[str, Any]:
    found = _toml(tree, "pyproject.toml").get("project")
    return found if isinstance(found, dict) else {}


def _poetry(tree: SourceTree) -> dict[str, Any]:
    """`[tool.poetry.dependencies]`"""
    found: Any = _toml(tree, "pyproject.toml")
    for name in ("tool", "poetry", "dependencies"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _bounds(tree: SourceTree) -> dict[str, str]:
    """File → which Pythons it allows."""
    pipfile = _toml(tree, "Pipfile").get("requires")
    found = {
        "pyproject.toml": _project(tree).get("requires-python") or _poetry(tree).get("python"),
        "Pipfile": pipfile.get("python_version") if isinstance(pipfile, dict) else None,
        "setup.py": _setup_argument(tree, "python_requires"),
    }
    return {path: bound for path, bound in found.items() if isinstance(bound, str)}


def _lines(tree: SourceTree, stated: str | list[str]) -> list[str]:
    """Requirements as lines, of a file that has such."""
    if isinstance(stated, list):
        return stated
    if stated == "pyproject.toml":
        return [str(each) for each in _list(_project(tree).get("dependencies"))]
    return tree.text(stated).splitlines() if stated.endswith(".txt") else []


def _list(value: Any) -> list[Any]:
    """*value*, of somebody's file, if that is a list."""
    return value if isinstance(value, list) else []


def _toml(tree: SourceTree, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(tree.text(path)) if tree.has(path) else {}
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _install_requires(tree: SourceTree) -> list[str]:
    value = _setup_argument(tree, "install_requires")
    return [str(each) for each in value] if isinstance(value, list | tuple) else []


def _setup_argument(tree: SourceTree, name: str) -> object:
    """`setup(name=…)`, as far as it is written down and not worked out."""
    parsed = tree.module("setup.py") if tree.has("setup.py") else None
    if parsed is None:
        return None
    names = {
        node.targets[0].id: literal(node.value)
        for node in ast.walk(parsed)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for call in calls(parsed):
        if dotted(call.func).rpartition(".")[2] == "setup":
            for keyword in call.keywords:
                if keyword.arg == name:
                    return names.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else literal(keyword.value)
    return None


def _guessed(tree: SourceTree, imports: Imports | None) -> tuple[list[str], str]:
    """Without any statement: what the README tells to install, else what the program imports."""
    for path in tree.documents[:3]:
        found = _PIP.search(tree.text(path))
        if found:
            words = [word for word in found[1].split() if _PLAIN_REQUIREMENT.fullmatch(word) and not tree.is_local(word, path)]
            if words:
                return words, f"{tree.place(path, found.start(1))} installs them"
    if imports is None:
        return [], ""
    return imports.distributions()[0], _FROM_IMPORTS


def _apt_packages(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    words = [word for found in _APT.finditer(joined) for word in found[1].split()]
    wanted = [word for word in words if re.fullmatch(r"[a-z][a-z0-9.+-]+", word)]
    return [word for word in dict.fromkeys(wanted) if not word.startswith("python") and word not in ("pip", "install")]


def _add_build_arguments(tree: SourceTree, environment: Environment, dockerfile: str) -> None:
    """What the repository's own `docker build` gives to the arguments without which *dockerfile* has no image to start from."""
    try:
        document = parse(tree.text(dockerfile), path=dockerfile)
        needed = {name for stage in document.stages for name in unset_names(stage.base, {}, escape=document.escape)}
    except ConfigError:
        return  # a launch says what is wrong with it
    without = {name for each in document.global_args for name, default in each.arguments() if default is None}
    for name in sorted(needed & without):
        given = list(_build_arguments(tree, name))
        value, where = next((each for each in given if "$" not in each[0]), ("", ""))
        if value:
            environment.args[name] = value
            environment.why_args = "; ".join(filter(None, (environment.why_args, f"{where} builds it so")))
        else:
            said = f": {given[0][1]} gives it `{given[0][0]}`" if given else ", and no `docker build` here gives it a value"
            environment.doubts.append(f"`image.args.{name}`, the image that {dockerfile} starts from{said}")


def _build_arguments(tree: SourceTree, name: str) -> Iterator[tuple[str, str]]:
    """What is written as `--build-arg name=…`, and where."""
    for path in filter(_BUILD_FILES.fullmatch, tree.files):
        for found in re.finditer(rf"--build-arg[= ]\s*[\"']?{name}=([^\s\"'`]+)", tree.text(path)):
            yield found[1], tree.place(path, found.start())


def _add_cog(tree: SourceTree, environment: Environment) -> None:
    """cog.yaml: the Python, Debian packages, and requirements where nothing else says any."""
    if not tree.has("cog.yaml"):
        return
    try:
        document = load_foreign_yaml(Path("cog.yaml"), tree.text("cog.yaml"))
    except ConfigError:
        return
    build = document.get("build") if isinstance(document, dict) else None
    if not isinstance(build, dict):
        return
    if listed := _list(build.get("system_packages")):
        environment.apt = list(dict.fromkeys([*environment.apt, *map(str, listed)]))
        environment.why_apt = "; ".join(filter(None, (environment.why_apt, "cog.yaml installs them")))
    if environment.why in ("", _FROM_IMPORTS) and (named := build.get("python_requirements")):
        environment.requirements, environment.why = str(named), "cog.yaml names it"
    elif environment.why in ("", _FROM_IMPORTS) and (named := _list(build.get("python_packages"))):
        environment.requirements, environment.why = [str(each) for each in named], "cog.yaml lists them"
    if python := build.get("python_version"):
        environment.python, environment.why_python = str(python), "cog.yaml"


def _add_missing(tree: SourceTree, environment: Environment, imports: Imports) -> None:
    """What the program imports and its statement forgot: torch, mostly, which one shall "install first", or an example's own.

    A lock has what was locked, and all of that.
    """
    known, unknown = imports.distributions()
    stated = environment.requirements
    if isinstance(stated, str) and stated.endswith((".txt", "pyproject.toml")):
        lines = _lines(tree, stated)
        if living := _with_living_names(lines):
            environment.requirements = living
            environment.why += " with the names that packages have now"
            return
        names = _names([*lines, *(_poetry(tree) if stated == "pyproject.toml" else ())])
        missing = [name for name in known if canonicalize_name(name) not in names]
        if missing and not any(re.match(r"\s*-r\s", line) for line in lines):
            environment.requirements = [f"-r {stated}", *missing]
            environment.why = f"{stated} has no {', '.join(missing)}, which the program imports"
    elif isinstance(stated, list):
        names = _names(stated)
        environment.requirements = [*stated, *(name for name in known if canonicalize_name(name) not in names)]
        unknown = {name: where for name, where in unknown.items() if canonicalize_name(name) not in names}
        environment.doubts += [
            f"`import {name}` ({where}): which distribution brings it is not known here" for name, where in unknown.items()
        ][: 5 if environment.why else 0]


def _add_libraries(tree: SourceTree, environment: Environment) -> None:
    """The libraries of Debian that a wheel expects to be there."""
    stated = _lines(tree, environment.requirements)
    lines = [*stated, *(line for each in stated if each.startswith("-r ") for line in _lines(tree, each[3:].strip()))]
    names = _names(lines)
    for name, libraries in _LIBRARIES.items():
        if name in names and not set(libraries) <= set(environment.apt):
            environment.apt = list(dict.fromkeys([*environment.apt, *libraries]))
            environment.why_apt = "; ".join(filter(None, (environment.why_apt, f"{name}'s wheel lacks {' '.join(libraries)}")))


def _with_living_names(lines: Iterable[str]) -> list[str]:
    """Requirements of which a package has a name that an index gives up; nothing where none has."""
    lines = [line for each in lines if (line := each.partition("#")[0].strip())]
    names = [found[1] for line in lines if (found := _NAME.match(line))]
    if len(names) < len(lines) or not any(name in _RENAMED for name in names):
        return []
    return [_RENAMED.get(name, line) for name, line in zip(names, lines, strict=True)]


def _names(lines: Iterable[str]) -> set[str]:
    """The packages that requirement lines begin with."""
    return {canonicalize_name(found[1]) for line in lines if (found := _NAME.match(line))}
