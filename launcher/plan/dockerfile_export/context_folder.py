"""The directory that the Dockerfile lies in: archives of layers, folders of files, each written once."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.build.plan import LINK_MODE
from runtime.errors import BuildError, error_words
from runtime.layer.archive import merged_tar_chunks
from runtime.layer.tree import TreeEntry, printable
from runtime.light_dataclasses import replace
from runtime.store.image_blobs import layer_chunks
from runtime.store.merged_tree import MergedTree
from runtime.store.records import Layer
from runtime.store.store import Store

_CHUNK = 1 << 20

File = tuple[str, str, int, str]
"""(path where it is read, path where it is written, mode, sha256), as in `ContextFiles.files`."""


class ContextFolder:
    """Files below *root*; every method returns the path that COPY or ADD has to name."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = root
        self._store = store
        self._archives: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self.archives = 0
        self.size_bytes = 0

    def layer(self, layer: Layer, name: str) -> str:
        """*layer* as `NAME.tar`, without its deletions, which the caller writes as commands."""
        tree = self._store.tree_of(layer)
        if not any(entry.type == "whiteout" or entry.opaque for entry in tree):
            return self._archive(layer.diff_id, name, layer_chunks(self._store, layer))
        root = self._store.layer_dir(layer)
        kept = [(replace(entry, opaque=False), root) for entry in tree if entry.type != "whiteout"]
        return self._archive(layer.diff_id, name, merged_tar_chunks(kept))

    def entries(self, tree: MergedTree, chosen: Sequence[TreeEntry], layers: Sequence[Layer], name: str) -> str:
        """*chosen* entries of *tree*, which is that of *layers*."""
        roots = [self._store.layer_dir(layer) for layer in layers]

        def with_root(entry: TreeEntry) -> tuple[TreeEntry, Path]:
            content = tree.content_of(entry.path)
            return entry, roots[content.position if content is not None else 0]

        key = hashlib.sha256(repr(chosen).encode("utf-8", "surrogateescape")).hexdigest()
        return self._archive(key, name, merged_tar_chunks(with_root(entry) for entry in chosen))

    def files(self, root: str, files: Sequence[File], name: str) -> str:
        """A folder of *files* with the modes that they have, each checked as it is copied."""
        folder = self._root / self._free(name, "")
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        for source, path, mode, sha256 in files:
            target = folder / path
            _make_directories(folder, target.parent)
            if stat.S_ISDIR(mode):
                target.mkdir(exist_ok=True)
                target.chmod(mode & 0o777)
            elif stat.S_ISFIFO(mode):
                os.mkfifo(target)
                target.chmod(mode & 0o777)
            elif mode == LINK_MODE:
                with _read(root, source):
                    link = os.readlink(os.path.join(root, source))
                _check(hashlib.sha256(os.fsencode(link)).hexdigest(), sha256, root, source)
                target.symlink_to(link)
            else:
                _check(_copy(root, source, target), sha256, root, source)
                target.chmod(mode & 0o777)
                self.size_bytes += target.stat().st_size
        return str(folder.relative_to(self._root))

    def texts(self, files: Iterable[tuple[str, str]], name: str) -> str:
        """A folder of files with the given content."""
        listed = tuple(files)
        key = hashlib.sha256(repr((name, listed)).encode()).hexdigest()
        if key in self._texts:
            return self._texts[key]
        folder = self._root / self._free(name, "")
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        for path, text in listed:
            (folder / path).write_bytes(text.encode())
            (folder / path).chmod(0o644)
            self.size_bytes += len(text.encode())
        self._texts[key] = str(folder.relative_to(self._root))
        return self._texts[key]

    def _archive(self, key: str, name: str, chunks: Iterable[bytes]) -> str:
        if key not in self._archives:
            path = self._free(name, ".tar")
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            with open(self._root / path, "xb") as file:
                file.writelines(chunks)
                self.size_bytes += file.tell()
            self.archives += 1
            self._archives[key] = path
        return self._archives[key]

    def _free(self, name: str, suffix: str) -> str:
        """A path that nothing has yet, of characters that no tool minds."""
        plain = re.sub(r"[^A-Za-z0-9._+/-]+", "-", name).strip("-.") or "files"
        path, number = f"{plain}{suffix}", 1
        while os.path.lexists(self._root / path):
            number += 1
            path = f"{plain}-{number}{suffix}"
        return path


def _make_directories(folder: Path, directory: Path) -> None:
    if directory == folder or directory.is_dir():
        return
    _make_directories(folder, directory.parent)
    directory.mkdir()
    directory.chmod(0o755)


@contextmanager
def _read(root: str, source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _changed_error(root, source, error_words(error)) from error


def _copy(root: str, source: str, target: Path) -> str:
    hasher = hashlib.sha256()
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with _read(root, source):
        descriptor = os.open(os.path.join(root, source), flags)
    with open(descriptor, "rb") as original, open(target, "xb") as copy:
        while chunk := original.read(_CHUNK):
            hasher.update(chunk)
            copy.write(chunk)
    return hasher.hexdigest()


def _check(found: str, sha256: str, root: str, source: str) -> None:
    if found != sha256:
        raise _changed_error(root, source, "its content is another one now")


def _changed_error(root: str, source: str, how: str) -> BuildError:
    return BuildError(f"`{printable(os.path.join(root, source))}` changed while it was written: {how}", hint="try again")
