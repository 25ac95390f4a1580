"""Requirement lines that name a tree of sources instead of a file: `name @ git+https://…@rev`, `.`, `-e ./libs/x`.

A directory must be part of the code, since that is what a run records; which of its files count is `project_files.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from launcher.errors import ConfigError
from runtime.light_typing import NamedTuple

_FORM = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<extras>\[[^\]]*\])?\s*@\s*)?"
    r"(?P<place>[^\s\[;]+)(?P<more>\[[^\]]*\])?(?:\s+--\S.*)?(?:\s*;\s*(?P<marker>[^#]+?))?\s*"
)
_EDITABLE = re.compile(r"\A(?:-e|--editable)(?:\s*=\s*|\s+|(?=[./\w]))")
_OTHER_SYSTEMS = ("hg+", "svn+", "bzr+")


class TreeLine(NamedTuple):
    line: str
    """As it stands among the lines of its RequirementSet."""
    place: str
    """`git+…` as it was written; else a directory of the code: `.`, `libs/x`."""
    name: str = ""
    """Empty where the line has none."""
    extras: str = ""
    """`[dev]`"""
    marker: str = ""
    editable: bool = False

    @property
    def is_git(self) -> bool:
        return self.place.startswith("git+")

    def in_directory(self, directory: Path) -> str:
        """The same requirement for files that are in *directory*."""
        address = f"file://{quote(os.fspath(directory))}"
        named = f"{self.name}{self.extras} @ {address}" if self.name else f"{address}{self.extras}"
        return f"{named} ; {self.marker}" if self.marker else named


def find_tree(line: str, *, code: Path, near: Path) -> TreeLine | None:
    """What *line* names, if that is a tree. Relative directories are looked for from the directory of the *code*, as pip does in
    it, then *near* the file."""
    requirement = _EDITABLE.sub("", line, count=1)
    editable = requirement != line
    match = None if requirement.startswith("-") else _FORM.fullmatch(requirement)
    if match is None:
        if editable:
            raise ConfigError(f"requirement `{line}`: no directory and no repository can be read in it")
        return None
    place = match["place"]
    if place.startswith(_OTHER_SYSTEMS):
        raise ConfigError(f"requirement `{line}`: of version control systems only git is supported")
    if not place.startswith("git+"):
        directory = _directory(line, place, is_sure=editable, is_named=bool(match["name"]), roots=(code, near))
        if directory is None:
            return None
        place = _within(code, directory, line)
    name = match["name"] or _egg(match["place"])
    return TreeLine(line, place, name, match["extras"] or match["more"] or "", (match["marker"] or "").strip(), editable)


def _egg(place: str) -> str:
    """pip's older way to name it: `git+https://…#egg=name`."""
    found = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", place)
    return found[1] if found else ""


def _directory(line: str, place: str, *, is_sure: bool, is_named: bool, roots: Sequence[Path]) -> Path | None:
    """The directory that *place* is; None where it is something else: a name, an address, a file."""
    path = unquote(place.removeprefix("file://").removeprefix("file:")) if place.startswith("file:") else place
    is_path = place.startswith(("file:", ".", "/")) or ("/" in place and not is_named)
    if "://" in path or not (is_sure or is_path):
        if is_sure:
            raise ConfigError(f"editable requirement `{line}` is neither a directory nor a git repository")
        return None
    found = next((root / path for root in roots if (root / path).is_dir()), None)
    if found is None:
        if is_sure:
            raise ConfigError(f"editable requirement `{line}`: there is no directory `{path}`")
        return None
    if not any((found / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise ConfigError(f"requirement `{line}`: `{path}` has neither pyproject.toml nor setup.py")
    return Path(os.path.realpath(found))


def _within(code: Path, directory: Path, line: str) -> str:
    if not directory.is_relative_to(code):
        raise ConfigError(
            f"requirement `{line}` lies outside of the code, so no run could record it",
            hint=f"`code.root` names a directory that holds both; now it is `{code}`",
        )
    return os.fspath(directory.relative_to(code))
