"""Write the layer of a placement: what changed since the layer that was made last in its place is copied, the rest are links.

A link is another name of a file that an earlier layer has, so it costs neither room nor writing; no layer's file is ever changed.
It is made only where the same path is to have the same content and attributes, to a file that has just been read and has them:
what was damaged in the store is copied again. Nothing else is trusted than before: the plan says what a file of the context is.
Where no link can be made (65,000 names of a file are the most on ext4) the file is copied.

Files are written, and their digests made, by several threads, beside the digest of the layer's stream.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from runtime.build.copy.copy_placement import Placement, content_key
from runtime.build.copy.copy_sources import Content, InContext, InStore, InText, changed_error
from runtime.errors import BadContent, StoreError
from runtime.layer.archive import EntryRead, digest_entries, is_small
from runtime.layer.file_copy import copy_hashed
from runtime.layer.in_order import in_order
from runtime.layer.tree import Tree, TreeEntry
from runtime.light_dataclasses import replace
from runtime.oci.digest import Digest, digest_json
from runtime.store.failures import of_the_disk
from runtime.store.layer_files import is_settled, settle_new_file
from runtime.store.records import Layer
from runtime.store.store import Store
from runtime.whole_file import write_all


def publish_placement(placement: Placement, *, store: Store, label: str, place: str) -> Layer:
    """The layer of *placement*, under the key of its content. *place* says what is copied where, whatever its files are now."""
    tree = placement.tree()
    key = content_key(tree)
    with store.lock([key]):
        return store.find(key) or write_layer(tree, placement.contents, key=key, store=store, label=label, place=place)


def write_layer(tree: Tree, contents: Mapping[str, Content], *, key: Digest, store: Store, label: str, place: str) -> Layer:
    """Write *tree* and publish it under *key*."""
    last = digest_json({"kind": "copied-last", "place": place})
    earlier = store.find(last)
    files = None if earlier is None else EarlierFiles(store.tree_of(earlier), store.layer_dir(earlier))
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        written = digest_entries(write_content(tree, contents, root, earlier=files), root)
        layer = store.publish(key, root, written, label=label)
    store.remember_key(last, layer)
    return layer


class EarlierFiles:
    """The files of an earlier layer, whose manifest is *tree* and whose directory *root*."""

    def __init__(self, tree: Tree, root: Path) -> None:
        # Not those with xattrs: what a file system took of them is not known.
        self._files = {entry.path: entry for entry in tree if entry.type == "file" and not entry.xattrs}
        self._root = os.fspath(root)

    def link(self, entry: TreeEntry, location: str) -> EntryRead | None:
        """Let what is to be *entry* be one of these files, with *location* as a new name; with its size. None: none is it."""
        known = self._files.get(entry.path)
        if known is None or entry.xattrs or _what_it_is(entry) != _what_it_is(known):
            return None
        file = f"{self._root}/{entry.path}"
        try:
            is_whole, content = _read_whole(file, known)
            if not is_whole:
                return None
            os.link(file, location, follow_symlinks=False)
        except OSError:
            return None  # if the disk is the reason, the copy will say so
        return known, content


def _read_whole(file: str, entry: TreeEntry) -> tuple[bool, bytes | None]:
    """Whether *file* is what *entry* says, and its content if that is small."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not is_settled(os.fstat(descriptor), entry):
            return False, None
        if is_small(entry):
            content = os.read(descriptor, entry.size + 1)
            return hashlib.sha256(content).hexdigest() == entry.sha256, content
        with open(descriptor, "rb", buffering=0, closefd=False) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == entry.sha256, None
    finally:
        os.close(descriptor)


def _what_it_is(file: TreeEntry) -> tuple[str, int, int, int, int]:
    return file.sha256, file.mode, file.uid, file.gid, file.mtime


def write_content(
    tree: Tree, contents: Mapping[str, Content], root: Path, *, earlier: EarlierFiles | None = None
) -> Iterator[EntryRead]:
    """Make the paths of *tree* below the empty directory *root*; each entry when it is there, files settled and with their sizes.
    Other attributes are the store's business, and device nodes are in the manifest only."""
    base = os.fspath(root)
    for entry in tree:
        if entry.type == "dir":
            os.mkdir(f"{base}/{entry.path}")
    files = [entry for entry in tree if entry.type == "file"]
    written = in_order(lambda entry: _write_file(entry, contents[entry.path], f"{base}/{entry.path}", earlier), files)
    for entry in tree:
        location = f"{base}/{entry.path}"
        content = None
        match entry.type:
            case "file":
                entry, content = next(written)
            case "symlink":
                os.symlink(entry.link, location)
            case "hardlink":
                os.link(f"{base}/{entry.link}", location, follow_symlinks=False)
            case "fifo":
                os.mkfifo(location)
        yield entry, content


def _write_file(entry: TreeEntry, content: Content, location: str, earlier: EarlierFiles | None) -> EntryRead:
    linked = None if earlier is None else earlier.link(entry, location)
    return linked or (replace(entry, size=copy_content(content, Path(location), entry)), None)


def copy_content(content: Content, target: Path, entry: TreeEntry) -> int:
    """Copy to the new file *target*, settled as *entry* says; the size. Raises an error when it is not the content that *entry*
    says."""

    def settle(descriptor: int) -> None:
        settle_new_file(descriptor, entry)

    match content:
        case InText(content=text):
            with open(target, "xb", buffering=0) as file:
                write_all(file.fileno(), text)
                settle(file.fileno())
            return len(text)
        case InContext(root=root, path=path):
            try:
                size, digests = copy_hashed(Path(root, path), target, mode=0o600, settle=settle)
            except (OSError, BadContent) as error:
                if isinstance(error, OSError) and of_the_disk(error):
                    raise
                reason = error.strerror if isinstance(error, OSError) else error.message
                raise changed_error(root, path, reason or "it cannot be read") from error
            if entry.sha256 != digests["sha256"].hex():
                raise changed_error(root, path, "its content is another one now")
            return size
        case InStore(location=location):
            try:
                size, digests = copy_hashed(location, target, mode=0o600, settle=settle)
            except OSError as error:
                if of_the_disk(error):
                    raise
                raise StoreError(f"cannot copy `{location}`: {error.strerror}") from error
            if entry.sha256 and entry.sha256 != digests["sha256"].hex():
                raise StoreError(f"`{location}` doesn't have the content that its layer says", hint="`launch store check`")
            return size
