"""List the files of a code directory without git: everything but what tools made, and in a repository what `.gitignore` files
leave out.

`.gitignore` files count from the top of the repository down, with `.git/info/exclude` and the user's global ignore file, as
gitignore(5) orders them; without a repository there is nobody whom they could mean. Tracked but ignored files are known to git
alone, so `code_snapshot.py` asks git first.
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
    return sorted(_Walk(root, repository, environ).found)


def list_ignored(root: str, repository: Repository, *, environ: Mapping[str, str]) -> list[str]:
    """What `.gitignore` files leave out of that: files, and directories (`name/`) with all that is in them."""
    return sorted(_Walk(root, repository, environ).ignored)


class _Walk:
    """One walk through *root*: what was found, and what was ignored."""

    def __init__(self, root: str, repository: Repository | None, environ: Mapping[str, str]) -> None:
        self.found: list[str] = []
        self.ignored: list[str] = []
        self._root = root
        self._reads_rules = repository is not None
        rules = [] if repository is None else _outer_rules(root, repository, environ)
        # Rules of a deeper .gitignore come later in the list, so that they win.
        self._waiting: list[tuple[str, list[IgnoreRule]]] = [("", rules)]
        while self._waiting:
            self._list_directory(*self._waiting.pop())

    def _list_directory(self, directory: str, rules: list[IgnoreRule]) -> None:
        listed = self._entries(directory)
        if self._reads_rules and any(entry.name == ".gitignore" for entry in listed):
            rules = rules + _rules_in(os.path.join(self._root, directory, ".gitignore"), base=directory)
        for entry in listed:
            path = directory + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if _is_made_by_tools(entry, is_directory=is_directory):
                continue
            if is_ignored(path, rules, is_directory=is_directory):
                self.ignored.append(f"{path}/" if is_directory else path)
            elif is_directory:
                self._waiting.append((f"{path}/", rules))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                self.found.append(path)

    def _entries(self, directory: str) -> list[os.DirEntry[str]]:
        where = os.path.join(self._root, directory)
        try:
            with os.scandir(where) as entries:
                return list(entries)
        except PermissionError:
            hint = "`code.root` can name another directory" if not self._reads_rules else "a line in `.gitignore` leaves it out"
            raise ConfigError(f"cannot read the code directory `{where.rstrip('/')}`", hint=hint) from None


def _is_made_by_tools(entry: os.DirEntry[str], *, is_directory: bool) -> bool:
    if not is_directory:
        return entry.name.endswith(".pyc")
    return entry.name in NEVER_CODE or os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _outer_rules(root: str, repository: Repository, environ: Mapping[str, str]) -> list[IgnoreRule]:
    """Rules from outside *root* that hold inside it, weakest first."""
    config_home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    prefix = repository.prefix_of(root)
    rules = _rules_in(os.path.join(config_home, "git", "ignore"), above=prefix)
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
