"""List the files of a code directory without git: everything but what `.gitignore` files and common sense leave out.

`.gitignore` files count from the top of the repository (or the code directory) down, with `.git/info/exclude` and the
user's global ignore file, as gitignore(5) orders them. Tracked but ignored files are known to git alone, so
`code_snapshot.py` asks git first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import ConfigError
from launcher.plan.code.git_repository import Repository
from launcher.plan.code.path_patterns import IgnoreRule, ignore_rules, is_ignored

NEVER_CODE = frozenset(
    (".git", ".hg", ".svn", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".venv")
)
"""Names of directories that hold what tools made, not what people wrote."""


def list_files(root: str, repository: Repository | None, *, environ: Mapping[str, str]) -> list[str]:
    """Files and symlinks below *root*, relative, sorted. Special files (sockets, pipes, devices) are left out."""
    rules = _outer_rules(root, repository, environ)
    found: list[str] = []
    # Rules of a deeper .gitignore come later in the list, so that they win.
    waiting: list[tuple[str, list[IgnoreRule]]] = [("", rules)]
    while waiting:
        directory, rules = waiting.pop()
        _list_directory(root, directory, rules, found, waiting)
    return sorted(found)


def _list_directory(
    root: str,
    directory: str,
    rules: list[IgnoreRule],
    found: list[str],
    waiting: list[tuple[str, list[IgnoreRule]]],
) -> None:
    try:
        with os.scandir(os.path.join(root, directory)) as entries:
            listed = list(entries)
    except PermissionError:
        where = os.path.join(root, directory).rstrip("/")
        raise ConfigError(f"cannot read the code directory `{where}`", hint="a line in `.gitignore` leaves it out") from None
    names = {entry.name for entry in listed}
    if ".gitignore" in names:
        rules = rules + _rules_in(os.path.join(root, directory, ".gitignore"), base=directory)
    for entry in listed:
        path = directory + entry.name
        is_directory = entry.is_dir(follow_symlinks=False)
        if is_ignored(path, rules, is_directory=is_directory):
            continue
        if is_directory:
            if entry.name not in NEVER_CODE and not _is_virtual_environment(entry.path):
                waiting.append((f"{path}/", rules))
        elif (entry.is_file(follow_symlinks=False) and not entry.name.endswith(".pyc")) or entry.is_symlink():
            found.append(path)


def _is_virtual_environment(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, "pyvenv.cfg"))


def _outer_rules(root: str, repository: Repository | None, environ: Mapping[str, str]) -> list[IgnoreRule]:
    """Rules from outside *root* that hold inside it, weakest first."""
    config_home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    prefix = "" if repository is None else repository.prefix_of(root)
    rules = _rules_in(os.path.join(config_home, "git", "ignore"), above=prefix)
    if repository is None:
        return rules
    rules += _rules_in(os.path.join(repository.common, "info", "exclude"), above=prefix)
    directory = repository.top
    pieces = prefix.split("/")[:-1]
    for depth, piece in enumerate(pieces):
        above = "/".join(pieces[depth:]) + "/"
        rules += _rules_in(os.path.join(directory, ".gitignore"), above=above)
        directory = os.path.join(directory, piece)
    return rules


def _rules_in(path: str, *, base: str = "", above: str = "") -> list[IgnoreRule]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return []
    return ignore_rules(text, base=base, above=above)
