"""Apply a CopyIn step: the files of a code snapshot become a layer. Each is checked while it is copied.

Between snapshot and copy somebody may save a file; then the layer would not be what its digest says, so that is an error.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from runtime.build.cache_key import key_fields, step_key
from runtime.build.plan import CopyIn
from runtime.build.step_label import step_label
from runtime.errors import BadContent, BuildError
from runtime.layer.tree import Tree, TreeEntry, shown
from runtime.store.failures import of_the_disk
from runtime.store.records import Layer
from runtime.store.store import Store

_LINK_MODE = 0o120777
_CHUNK = 1 << 20


def apply_copy_in(step: CopyIn, *, store: Store) -> Layer:
    """The layer of *step*. Raises BuildError when a file is no longer what the snapshot says."""
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        tree = copy_in(step, root)
        return store.publish(step_key(step, None), root, tree, label=step_label(step), fields=key_fields(step, None))


def copy_in(step: CopyIn, root: Path) -> Tree:
    """Copy the files of *step* below the empty directory *root*; their manifest."""
    base = step.target.strip("/")
    if not _is_plain(base):
        raise BadContent(f"code cannot be copied to `{step.target}`")
    entries: dict[str, TreeEntry] = {}
    _make_directories(root, base, entries)
    source = os.open(step.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for relative, mode, sha256 in step.files:
            if not _is_plain(relative):
                raise BadContent(f"the snapshot has a file `{shown(relative)}`, which is no plain relative path")
            path = f"{base}/{relative}"
            _make_directories(root, path.rpartition("/")[0], entries)
            copy = _copy_link if mode == _LINK_MODE else _copy_file
            try:
                entries[path] = copy(source, relative, root / path, mode, path)
            except OSError as error:
                if of_the_disk(error):
                    raise
                raise _changed(step, relative, f"{error.strerror}") from error
            if entries[path].sha256 != sha256 and mode != _LINK_MODE:
                raise _changed(step, relative, "its content is another one now")
            if mode == _LINK_MODE and hashlib.sha256(os.fsencode(entries[path].link)).hexdigest() != sha256:
                raise _changed(step, relative, "the link leads elsewhere now")
    finally:
        os.close(source)
    return Tree.of(entries.values())


def _is_plain(path: str) -> bool:
    return bool(path) and not any(part in ("", ".", "..") for part in path.split("/")) and "\0" not in path


def _changed(step: CopyIn, relative: str, how: str) -> BuildError:
    return BuildError(
        f"`{shown(os.path.join(step.source, relative))}` changed while the image was built: {how}", hint="launch again"
    )


def _make_directories(root: Path, path: str, entries: dict[str, TreeEntry]) -> None:
    if path == "" or path in entries:
        return
    _make_directories(root, path.rpartition("/")[0], entries)
    (root / path).mkdir()
    entries[path] = TreeEntry(path, "dir", 0o755)


def _copy_link(source: int, relative: str, target: Path, mode: int, path: str) -> TreeEntry:
    link = os.readlink(relative, dir_fd=source)
    os.symlink(link, target)
    return TreeEntry(path, "symlink", 0o777, link=link)


def _copy_file(source: int, relative: str, target: Path, mode: int, path: str) -> TreeEntry:
    hasher = hashlib.sha256()
    size = 0
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with open(os.open(relative, flags, dir_fd=source), "rb") as original, target.open("xb") as copy:
        while chunk := original.read(_CHUNK):
            hasher.update(chunk)
            copy.write(chunk)
            size += len(chunk)
    return TreeEntry(path, "file", mode & 0o777, size=size, sha256=hasher.hexdigest())
