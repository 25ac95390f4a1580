"""What a git repository's own files say, read without git: where it is, HEAD, the branch, the remote's address.

Formats: gitrepository-layout(5); packed-refs as in git-pack-refs(1); configuration as far as `remote.NAME.url` needs it.
Whether the work tree differs from HEAD is `git_calls.py` (with git) or `git_index.py` (without).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from runtime.light_dataclasses import dataclass

_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree and its git directories; *common* differs from *git* in a linked work tree (git-worktree(1))."""

    top: str
    git: str
    common: str

    def prefix_of(self, directory: str) -> str:
        """*directory* relative to the top, as git prints paths: `""` or `a/b/`."""
        relative = os.path.relpath(directory, self.top)
        return "" if relative == "." else f"{relative}/"


@dataclass(frozen=True, slots=True)
class Head:
    commit: str
    branch: str | None
    """None when HEAD is detached."""


def find_repository(directory: str) -> Repository | None:
    """The repository whose work tree holds *directory* (absolute, resolved), as git finds it: upward, first `.git` wins."""
    while True:
        git = os.path.join(directory, ".git")
        if os.path.isdir(git):
            if os.path.exists(os.path.join(git, "HEAD")):
                return Repository(top=directory, git=git, common=_common_dir(git))
        elif os.path.isfile(git):
            linked = _linked_git_dir(git)
            if linked is not None:
                return Repository(top=directory, git=linked, common=_common_dir(linked))
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def read_head(repository: Repository) -> Head | None:
    """HEAD of *repository*; None before the first commit."""
    text = _read(os.path.join(repository.git, "HEAD"))
    if not text.startswith("ref:"):
        return Head(commit=text, branch=None) if _OBJECT_ID.fullmatch(text) else None
    reference = text.removeprefix("ref:").strip()
    commit = _resolve_reference(repository, reference)
    if commit is None:
        return None
    return Head(commit=commit, branch=reference.removeprefix("refs/heads/"))


def remote_url(repository: Repository) -> str | None:
    """Address of `origin`, else of the first remote, without user name and password."""
    section: str | None = None
    urls: dict[str, str] = {}
    for line in _read(os.path.join(repository.common, "config")).splitlines():
        line = line.strip()
        header = re.fullmatch(r'\[remote "(.+)"\]', line)
        if header:
            section = header[1]
        elif line.startswith("["):
            section = None
        elif section is not None:
            key, _, value = line.partition("=")
            if key.strip().lower() == "url":
                urls.setdefault(section, value.strip().strip('"'))
    url = urls.get("origin", next(iter(urls.values()), None))
    return None if url is None else without_credentials(url)


def without_credentials(url: str) -> str:
    """`https://user:secret@host/x` → `https://host/x`. An scp-like address (`git@host:x`) has no password and stays."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    if "@" not in parts.netloc or parts.scheme == "ssh":
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _resolve_reference(repository: Repository, reference: str) -> str | None:
    # A linked work tree has its own HEAD; branches are in the common directory.
    for directory in (repository.git, repository.common):
        text = _read(os.path.join(directory, reference))
        if text.startswith("ref:"):
            return _resolve_reference(repository, text.removeprefix("ref:").strip())
        if _OBJECT_ID.fullmatch(text):
            return text
    for line in _read(os.path.join(repository.common, "packed-refs")).splitlines():
        commit, _, name = line.partition(" ")
        if name == reference and _OBJECT_ID.fullmatch(commit):
            return commit
    return None


def _linked_git_dir(dot_git: str) -> str | None:
    text = _read(dot_git)
    if not text.startswith("gitdir:"):
        return None
    directory = os.path.join(os.path.dirname(dot_git), text.removeprefix("gitdir:").strip())
    return os.path.normpath(directory) if os.path.exists(os.path.join(directory, "HEAD")) else None


def _common_dir(git: str) -> str:
    text = _read(os.path.join(git, "commondir"))
    return os.path.normpath(os.path.join(git, text)) if text else git


def _read(path: str) -> str:
    """Text of a small file; empty when it is not there or not ours to read: then git knows nothing either."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return ""
