"""What an image does not get of a code directory since git ignores it: a prepared data set, weights, a file with a password.

Told by `launch plan` and before the first build of an experiment, and asked when a program missed a file. Caches and virtual
environments are nobody's loss and are not named; neither is what `code.exclude` leaves out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from launcher.plan.code.code_listing import list_files, list_ignored
from launcher.plan.code.git_repository import find_repository
from launcher.plan.launch_plan import CodeSnapshot
from runtime.plurals import counted, size_words

_MOST_NAMED = 6
_OF_TOOLS = (".egg-info", ".DS_Store")


class LeftOut(NamedTuple):
    """A file, or a directory (`data/`) with all its files."""

    path: str
    files: int
    size_bytes: int

    @property
    def words(self) -> str:
        files = f"{counted(self.files, 'file')}, " if self.path.endswith("/") else ""
        return f"`{self.path}` ({files}{size_words(self.size_bytes)})"


def left_out_of(code: CodeSnapshot, *, environ: Mapping[str, str]) -> tuple[LeftOut, ...]:
    """What git ignores below the root of *code*, and it has not."""
    return find_left_out(code.root, [name for name, _, _ in code.files], environ=environ)


def find_left_out(root: str, files: Collection[str], *, environ: Mapping[str, str]) -> tuple[LeftOut, ...]:
    """What git ignores below *root* and is not one of *files*, the largest first; nothing where there is no repository."""
    repository = find_repository(root)
    if repository is None or not files:
        return ()
    taken = set(files)
    found = (_measured(root, path, taken, environ) for path in list_ignored(root, repository, environ=environ))
    return tuple(sorted((each for each in found if each.size_bytes), key=lambda each: (-each.size_bytes, each.path)))


def left_out_words(left_out: Sequence[LeftOut]) -> str:
    """`data/input.txt` (1.1 MB), `out/` (3 files, 41 KB) and 2 more (10 KB)"""
    rest = left_out[_MOST_NAMED:]
    more = f" and {len(rest)} more ({size_words(sum(each.size_bytes for each in rest))})" if rest else ""
    return ", ".join(each.words for each in left_out[:_MOST_NAMED]) + more


def include_hint(path: str) -> str:
    """How *path* comes in."""
    return f'`code: {{include: ["**", "{path}"]}}` takes it along, `data` mounts what is large'


def _measured(root: str, path: str, taken: set[str], environ: Mapping[str, str]) -> LeftOut:
    sizes = [_size(f"{root}/{name}") for name in _files_of(root, path, environ) if name not in taken]
    return LeftOut(path, len(sizes), sum(sizes))


def _files_of(root: str, path: str, environ: Mapping[str, str]) -> Iterator[str]:
    if path.rstrip("/").endswith(_OF_TOOLS):
        return
    if not path.endswith("/"):
        yield path
        return
    for name in list_files(f"{root}/{path}", None, environ=environ):
        yield path + name


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
