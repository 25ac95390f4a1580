"""What a CopyFiles step copies, before it has a place: the files of a context, of another stage, of an address or of the text.

A source is one file, or the content of a directory. Nothing is read here but manifests; contents are copied when the layer turns
out to be a new one (`apply_copy_files.py`).
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.build.copy.go_match import compile_pattern, has_wildcards, unescape
from runtime.build.plan import LINK_MODE, ContextFiles, FetchedFile, InlineFiles, StageFiles
from runtime.errors import BadContent, BuildError
from runtime.layer.tree import TreeEntry, printable
from runtime.light_dataclasses import dataclass, field, replace

if TYPE_CHECKING:
    from runtime.store.merged_tree import MergedTree

_DIRECTORY = 0o040000
_FIFO = 0o010000


@dataclass(frozen=True, slots=True)
class InContext:
    """Content on this machine, where somebody may change it."""

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class InStore:
    """Content in the store: of a layer, or a blob."""

    location: Path


@dataclass(frozen=True, slots=True)
class InText:
    """Content in the plan."""

    content: bytes = field(repr=False)


Content = InContext | InStore | InText


@dataclass(frozen=True, slots=True)
class Item:
    """One path of a source, parents before children."""

    path: str
    """Below the source's directory; the empty string is a source that is no directory."""
    entry: TreeEntry
    """Type and attributes; its path means nothing. A link of a context has its target only when it was read."""
    content: Content | None = None
    same_as: tuple[int, str] | None = None
    """Items with one value here are names of one file."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file (`name` is its name where the target is a directory), or the content of a directory."""

    name: str
    items: tuple[Item, ...]
    directory: bool


def context_sources(files: ContextFiles, *, one_by_one: bool = False) -> list[Source]:
    """The planned files of a context, with the attributes that every checkout has: 0644 or 0755, of root. *one_by_one*: each is a
    source, as for archives, of which each is unpacked."""
    items = tuple(_context_item(files.root, *listed) for listed in files.files)
    if one_by_one and not files.single:
        return [Source(item.path, (replace(item, path=""),), directory=False) for item in items]
    if not files.single:
        return [Source("", items, directory=True)]
    if len(items) != 1:
        raise BadContent(f"a single source file is planned, and {len(items)} are listed")
    return [Source(items[0].path, (Item("", items[0].entry, items[0].content),), directory=False)]


def _context_item(root: str, source: str, path: str, mode: int, sha256: str) -> Item:
    if not is_plain(source) or not is_plain(path):
        raise BadContent(f"`{printable(source)}` → `{printable(path)}`: not plain relative paths")
    if mode & 0o170000 == _DIRECTORY:
        return Item(path, TreeEntry(path, "dir", mode & 0o777))
    if mode & 0o170000 == _FIFO:
        return Item(path, TreeEntry(path, "fifo", mode & 0o777))
    if mode == LINK_MODE:
        return Item(path, TreeEntry(path, "symlink", 0o777, link=_link(root, source, sha256)))
    return Item(path, TreeEntry(path, "file", mode & 0o777, sha256=sha256), InContext(root, source))


def _link(root: str, source: str, sha256: str) -> str:
    try:
        link = os.readlink(os.path.join(root, source))
    except OSError as error:
        raise changed_error(root, source, f"{error.strerror}") from error
    if hashlib.sha256(os.fsencode(link)).hexdigest() != sha256:
        raise changed_error(root, source, "the link leads elsewhere now")
    return link


def changed_error(root: str, source: str, how: str) -> BuildError:
    """A file is no longer what the plan says."""
    return BuildError(f"`{printable(os.path.join(root, source))}` changed while the image was built: {how}", hint="launch again")


def is_plain(path: str) -> bool:
    """Whether *path* is relative and nothing else than names."""
    return bool(path) and not any(part in ("", ".", "..") for part in path.split("/")) and "\0" not in path


def text_sources(files: InlineFiles) -> list[Source]:
    """Here-documents."""
    sources = []
    for name, text in files.files:
        if not is_plain(name) or "/" in name:
            raise BadContent(f"`{printable(name)}` is no file name")
        content = text.encode()
        entry = TreeEntry(name, "file", 0o644, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        sources.append(Source(name, (Item("", entry, InText(content)),), directory=False))
    return sources


def fetched_source(file: FetchedFile, blob: Path) -> Source:
    """What came from an address: 0600 as BuildKit has it."""
    if not is_plain(file.name) or "/" in file.name:
        raise BadContent(f"`{printable(file.name)}` is no file name")
    entry = TreeEntry(file.name, "file", 0o600, size=blob.stat().st_size, sha256=file.digest.hex)
    return Source(file.name, (Item("", entry, InStore(blob)),), directory=False)


def stage_sources(files: StageFiles, tree: MergedTree, roots: Sequence[Path]) -> list[Source]:
    """What the patterns choose in the *tree* of another stage, whose layers lie in *roots*. Owners, modes, times, xattrs and hard
    links stay. Raises BuildError for a name that isn't there; a pattern may fit nothing, as in BuildKit."""
    return [_stage_source(path, tree, roots) for pattern in files.patterns for path in _matches(pattern, tree)]


def _matches(pattern: str, tree: MergedTree) -> Iterator[str]:
    parts = [part for part in posixpath.normpath(f"/{pattern}").split("/") if part]
    first = next((position for position, part in enumerate(parts) if has_wildcards(part)), len(parts))
    start = "/".join(unescape(part) for part in parts[:first])
    if first == len(parts):
        yield start
        return
    base = tree.resolve(start)
    if base is None:
        raise BuildError(f"the stage has no `/{printable(start)}`")
    try:
        wanted = [compile_pattern(part) for part in parts[first:]]
    except ValueError as error:
        raise BuildError(f"`{pattern}` is no pattern: {error}") from error
    above = f"{base}/" if base else ""
    for entry in tree:
        if entry.path.startswith(above):
            found = entry.path[len(above) :].split("/")
            if len(found) == len(wanted) and all(one.fullmatch(part) for one, part in zip(wanted, found, strict=True)):
                yield entry.path


def _stage_source(path: str, tree: MergedTree, roots: Sequence[Path]) -> Source:
    real = tree.resolve(path)
    if real is None:
        raise BuildError(f"the stage has no `/{printable(path)}`")
    entry = tree.get(real) if real else TreeEntry("", "dir", 0o755)
    assert entry is not None
    name = posixpath.basename(path)
    if entry.type != "dir":
        return Source(name, (_stage_item("", entry, tree, roots),), directory=False)
    above = f"{real}/" if real else ""
    inside = (each for each in tree if each.path.startswith(above))
    return Source(name, tuple(_stage_item(each.path[len(above) :], each, tree, roots) for each in inside), directory=True)


def _stage_item(path: str, entry: TreeEntry, tree: MergedTree, roots: Sequence[Path]) -> Item:
    where = tree.content_of(entry.path)
    if where is None:
        return Item(path, entry)
    return Item(path, tree.file_of(entry), InStore(roots[where.position] / where.path), (where.position, where.path))
