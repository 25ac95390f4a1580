"""How a package that reads its version from git finds it where there is no git: in a file, as in an archive of `git archive`."""

from __future__ import annotations

import re
from collections.abc import Iterable

DESCRIPTION = ".git_archival.txt"
"""A file at the top of a package, which setuptools-scm and hatch-vcs read ("Git archives")."""

DESCRIBE = ("describe", "--tags", "--long", "--match", "*[0-9]*")
"""What git is asked."""

COMMIT_AND_DATE = ("log", "-1", "--format=%H %cI")

_TOOLS = re.compile(
    r"setuptools[_-]scm|hatch-vcs|versioneer|\bpbr\b|dunamai|versioningit|poetry-dynamic-versioning|source\s*=\s*\"scm\""
)


def takes_version_from_git(texts: Iterable[str]) -> bool:
    """Whether *texts*, which say how a package is built, name a tool that asks git for the version."""
    return any(_TOOLS.search(text) for text in texts)


def description_text(described: str, commit_and_date: str) -> str:
    """DESCRIPTION of what DESCRIBE and COMMIT_AND_DATE gave."""
    commit, _, date = commit_and_date.strip().partition(" ")
    return f"node: {commit}\nnode-date: {date}\ndescribe-name: {described.strip()}\n"
