"""environment.yml where it is Python and pip alone: the version of Python that it wants, and the lines of its `pip:` section.

What conda's own channels hold is not for a resolver of ours: such a file is refused with the two ways that work.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path
from runtime.plurals import first_few


class CondaEnvironment(NamedTuple):
    python: str | None
    """`3.10` or `3.10.4`; None: it names none, or a range."""
    lines: tuple[str, ...]


_WITHOUT_MEANING = frozenset(["pip", "setuptools", "wheel"])
"""Every image can do without them: uv installs, and builds bring their own."""

_PYTHON = re.compile(r"==?\s*(3\.\d+(?:\.\d+)?)(?:\.\*|\*)?(?:=\S*)?")
_NAME = re.compile(r"\s*(?:\S+::)?([A-Za-z0-9._-]+)\s*(.*)")


def read_environment(path: Path, text: str) -> CondaEnvironment:
    """What *text*, the content of *path*, says."""
    python, lines, others = None, [], []
    for entry in conda_dependencies(path, text):
        if isinstance(entry, dict):
            listed = entry.get("pip")
            lines += [str(line) for line in listed] if isinstance(listed, list) else []
            continue
        found = _NAME.fullmatch(str(entry))
        name, version = (found[1].lower(), found[2]) if found else (str(entry), "")
        if name == "python":
            wanted = _PYTHON.fullmatch(version)
            python = wanted[1] if wanted else None
        elif name not in _WITHOUT_MEANING:
            others.append(name)
    if others:
        raise _conda_packages_error(path, others)
    return CondaEnvironment(python, tuple(lines))


def conda_dependencies(path: Path, text: str) -> list[Any]:
    """The list `dependencies` of *text*, the content of *path*: conda's packages, and mappings with `pip`. Raises ConfigError."""
    document = load_foreign_yaml(path, text)
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, list):
        hint = "a requirements.txt, pyproject.toml, a lock file or conda's environment.yml can be read"
        raise ConfigError(f"`{shown_path(path)}` is no environment.yml: it has no list `dependencies`", hint=hint)
    return dependencies


def load_foreign_yaml(path: Path, text: str) -> Any:
    """What *text*, the content of somebody's file *path*, says, within the limits of a configuration. Raises ConfigError."""
    import yaml

    from launcher.config.limits import Loader, check_document

    try:
        check_document(text, shown=str(path))
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError) as error:  # the latter of a day that there is not
        mark = getattr(error, "problem_mark", None)
        origin = Origin(file=str(path), line=mark.line + 1 if mark is not None else None)
        raise ConfigError(f"`{shown_path(path)}` is not YAML: {getattr(error, 'problem', error)}", origin=origin) from None


def _conda_packages_error(path: Path, names: list[str]) -> ConfigError:
    shown = first_few([f"`{name}`" for name in names], most=4)
    hint = (
        f"two ways work: a Dockerfile `FROM` a conda image with `COPY {path.name} .` and `RUN conda env update -n base -f "
        f"{path.name}`, named by `image.dockerfile`; or an image that has the environment, named by `image.base`. What an index "
        "has too can move to its `pip:` section"
    )
    return ConfigError(f"`{shown_path(path)}` wants {shown} from conda, and launch installs from package indexes", hint=hint)
