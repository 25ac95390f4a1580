"""Which kind of file states the requirements, by its name, and which parts of it are asked for.

`image.requirements: poetry.lock --extra cu128 --group train`: the words behind the name are those of uv's command line. A file
that is something else is refused by its name, before a parser stumbles over it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path


class Kind(StrEnum):
    """A kind of file. PYPROJECT is resolved; those behind it pin everything themselves."""

    REQUIREMENTS = "requirements file"
    CONDA = "environment.yml"
    PYPROJECT = "pyproject.toml"
    PYLOCK = "pylock.toml"
    UV = "uv.lock"
    POETRY = "poetry.lock"
    PDM = "pdm.lock"
    PIPFILE = "Pipfile.lock"

    @property
    def is_lines(self) -> bool:
        """Whether it holds lines of a requirements file."""
        return self in (Kind.REQUIREMENTS, Kind.CONDA)


class Parts(NamedTuple):
    """What of a project is asked for beside its main dependencies."""

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    package: str | None = None
    """A member of uv's workspace instead of the root."""

    def uv_words(self) -> list[str]:
        """As arguments of uv."""
        words = [word for extra in self.extras for word in ("--extra", extra)]
        words += [word for group in self.groups for word in ("--group", group)]
        return words + (["--package", self.package] if self.package else [])


class RequirementsFile(NamedTuple):
    """A file that states requirements."""

    path: Path
    kind: Kind
    parts: Parts = Parts()

    @property
    def is_pinned(self) -> bool:
        """Whether it names exact files already."""
        return not self.kind.is_lines and self.kind is not Kind.PYPROJECT


_OPTION = re.compile(r"\s+--(extra|group|package)(?:\s+|=)(\S+)")
_WITH_PARTS = {
    "extra": (Kind.PYPROJECT, Kind.UV, Kind.POETRY, Kind.PDM),
    "group": (Kind.PYPROJECT, Kind.UV, Kind.POETRY, Kind.PDM, Kind.PIPFILE),
    "package": (Kind.UV,),
}


_WRITTEN_BY = {Kind.UV: "uv lock", Kind.POETRY: "poetry lock", Kind.PDM: "pdm lock", Kind.PIPFILE: "pipenv lock"}


@contextmanager
def damage_told(file: RequirementsFile) -> Iterator[None]:
    """The body reads what a tool wrote into *file*; where a person, or a merge, changed it, anything may be missing or another
    thing. Raises ConfigError then."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        hint = f"`{_WRITTEN_BY[file.kind]}` writes it again" if file.kind in _WRITTEN_BY else None
        raise ConfigError(
            f"`{shown_path(file.path)}` is damaged: {reason}", origin=Origin(file=str(file.path)), hint=hint
        ) from error


def parse_file(written: str, base_dir: Path) -> RequirementsFile:
    """The file that *written* names, with the parts behind its name. Raises ConfigError for a file of another kind."""
    name, space, words = written.partition(" --")
    path = base_dir / name.rstrip()
    kind = _kind(path)
    parts = _parse_parts(f" --{words}" if space else "", path, kind)
    return RequirementsFile(path, kind, parts)


def _parse_parts(words: str, path: Path, kind: Kind) -> Parts:
    found: dict[str, list[str]] = {"extra": [], "group": [], "package": []}
    for option, value in _OPTION.findall(words):
        if kind not in _WITH_PARTS[option]:
            raise ConfigError(f"`--{option} {value}` means nothing for `{shown_path(path)}`: a {kind} has none")
        found[option].append(value)
    if rest := _OPTION.sub("", words).strip():
        hint = "`--extra NAME`, `--group NAME` and `--package NAME` choose parts of it"
        raise ConfigError(f"`{rest}` behind `{shown_path(path)}` is none of its parts", hint=hint)
    package = found["package"][-1] if found["package"] else None
    return Parts(tuple(found["extra"]), tuple(found["group"]), package)


def _kind(path: Path) -> Kind:
    name = path.name
    by_name = next((kind for kind in Kind if kind.value == name), None)
    if by_name is not None and by_name is not Kind.REQUIREMENTS:
        return by_name
    if path.suffix in (".txt", ".in") and not os.path.isdir(path):
        return Kind.REQUIREMENTS
    for pattern, hint in _OTHERS:
        if re.fullmatch(pattern, name):
            raise ConfigError(f"`{shown_path(path)}` states no requirements that can be read", hint=hint)
    if path.suffix in (".yml", ".yaml"):
        return Kind.CONDA
    if path.suffix == ".toml":
        return Kind.PYLOCK
    if os.path.isdir(path):
        raise ConfigError(f"`{shown_path(path)}` is a directory, no requirements file", hint=_LIST_HINT)
    return Kind.REQUIREMENTS


_LIST_HINT = "`image.requirements: [./DIR]`, a list, has the package of a directory"
_OTHERS = (
    (r"setup\.(py|cfg)", "`image.requirements: [.]`, a list, has the package that it describes, with what that needs"),
    (r"Pipfile", "`pipenv lock` writes the Pipfile.lock beside it, which can be read"),
    (r"(conda-lock|pixi)\.(ya?ml|lock|toml)", "conda packages come from an image: `image.dockerfile` or `image.base` names it"),
    (r"(Dockerfile.*|Containerfile|.*\.dockerfile)", "`image.dockerfile` names a Dockerfile"),
    (r".*\.(py|ipynb|sh|md|rst|json|cfg|ini|whl|gz|zip)", "a requirements.txt, pyproject.toml or a lock file can be read"),
)
