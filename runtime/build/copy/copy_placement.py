"""Where copied files land: COPY's rules for the target, and what the layers below have there already.

As BuildKit places them (fsutil, copy.go): links in the target are followed inside the root; directories that are there keep owner
and mode, unless the source has a directory for them; new ones are 0755 and belong to `--chown`'s user, else to root; a file takes
the place of a file or link, and never of a directory, nor a directory that of anything else.

The key of what it becomes is made of the manifest, so whoever ends at the same files, by whatever way, has the same layer.
Writing it is `layer_writer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.build.cache_key import COPY_FILES_VERSION
from runtime.build.copy.copy_sources import Content, Item, Source
from runtime.build.layers_below import LayersBelow
from runtime.errors import BuildError
from runtime.layer.tree import Tree, TreeEntry, printable
from runtime.light_dataclasses import dataclass, field, replace
from runtime.oci.digest import Digest, digest_json


@dataclass(slots=True)
class Placement:
    """The layer that a copy makes: its entries, and where their contents are."""

    below: LayersBelow
    owner: tuple[int, int] | None = None
    """--chown; None keeps the owners of the sources."""
    mode: int | None = None
    """--chmod."""
    entries: dict[str, TreeEntry] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    _names: dict[tuple[int, str], str] = field(default_factory=dict)
    """Of the source that is being placed: file → the first of its names here."""

    def copy(self, sources: Sequence[Source], target: str) -> None:
        """Place *sources* at *target*, absolute."""
        for source in sources:
            self._names.clear()
            if source.directory:
                self._copy_directory(source.items, self.directory(target))
            else:
                self._put(self._place_of_file(source.name, target), source.items[0])

    def tree(self) -> Tree:
        """The layer's manifest; a file whose content was not read yet has no size."""
        return Tree.of(self.entries.values())

    def directory(self, path: str) -> str:
        """The real path of the directory *path*, which is part of the layer from now on."""
        real, kind = self.below.resolve(path)
        if kind not in (None, "dir"):
            raise BuildError(f"`{printable(path)}` is no directory in the layers below")
        self._hold(real)
        return real

    def unpack(self, tree: Tree, contents: dict[str, Content], target: str) -> None:
        """Place an unpacked archive in the directory *target*, with the owners and modes that it has: `--chown` and `--chmod` are
        for *target* and what is no archive (BuildKit's `unpack`). Its directories go through links of the layers below, as tar's
        `--keep-directory-symlink` has it: an archive with `bin/` must not replace the link `bin`."""
        self._names.clear()
        places = {"": self.directory(target)}
        for entry in tree:
            if entry.type == "whiteout" or entry.opaque:
                raise BuildError(
                    f"the archive has a layer's deletion mark for `{printable(entry.path)}`: it is a layer, no plain tar"
                )
            parent, _, name = entry.path.rpartition("/")
            place = f"{places[parent]}/{name}" if places[parent] else name
            if entry.type == "dir":
                real, kind = self.below.resolve(place)
                place = real if kind == "dir" else place
                places[entry.path] = place
                self._hold(place.rpartition("/")[0])
            link = entry.link if entry.type == "hardlink" else entry.path
            same_as = (0, link) if entry.type in ("file", "hardlink") else None
            self._put(place, Item("", entry, contents.get(link), same_as), as_it_is=True)

    def _place_of_file(self, name: str, target: str) -> str:
        if not target.endswith(("/", "/.")):
            real, kind = self.below.resolve(target)
            entry = self.entries.get(real)
            if kind != "dir" and (entry is None or entry.type != "dir"):
                self._hold(real.rpartition("/")[0])
                return real
        parent = self.directory(target)
        return f"{parent}/{name}" if parent else name

    def _copy_directory(self, items: Sequence[Item], place: str) -> None:
        for item in items:
            path = f"{place}/{item.path}" if place else item.path
            # A context lists directories only where they are empty or have a mode of their own.
            self._hold(path.rpartition("/")[0])
            self._put(path, item)

    def _hold(self, path: str) -> None:
        """Let the directory *path* and those above it be part of the layer: as they are below, else new."""
        if not path or (path in self.entries and self.entries[path].type == "dir"):
            return
        self._hold(path.rpartition("/")[0])
        kind = self._kind(path)
        if kind == "dir":
            self.entries[path] = replace(self.below.entry(path), opaque=False)
        elif kind is None:
            uid, gid = self.owner or (0, 0)
            self.entries[path] = TreeEntry(path, "dir", 0o755, uid, gid)
        else:
            raise BuildError(f"cannot copy into `/{printable(path)}`: it is no directory")

    def _kind(self, path: str) -> str | None:
        entry = self.entries.get(path)
        return self.below.kind(path) if entry is None else entry.type

    def _put(self, path: str, item: Item, *, as_it_is: bool = False) -> None:
        kind = self._kind(path)
        if item.entry.type == "dir":
            if kind not in (None, "dir"):
                raise BuildError(f"cannot copy a directory to `/{printable(path)}`: it is no directory")
        elif kind == "dir":
            raise BuildError(f"cannot copy a file to `/{printable(path)}`: it is a directory")
        self._take_away(path)
        self.entries[path] = self._placed(path, item, as_it_is=as_it_is)
        if self.entries[path].type == "file" and item.content is not None:
            self.contents[path] = item.content

    def _take_away(self, path: str) -> None:
        """Forget a file of an earlier source at *path*; its other names keep it."""
        before, content = self.entries.get(path), self.contents.pop(path, None)
        if before is None or before.type != "file":
            return
        others = [entry.path for entry in self.entries.values() if entry.type == "hardlink" and entry.link == path]
        for other in others:
            self.entries[other] = replace(self.entries[other], link=others[0])
        if others and content is not None:
            self.entries[others[0]] = replace(before, path=others[0])
            self.contents[others[0]] = content

    def _placed(self, path: str, item: Item, *, as_it_is: bool) -> TreeEntry:
        entry = item.entry
        uid, gid = (entry.uid, entry.gid) if as_it_is or self.owner is None else self.owner
        mode = entry.mode if as_it_is or self.mode is None or entry.type == "symlink" else self.mode
        if item.same_as is not None:
            first = self._names.setdefault(item.same_as, path)
            if first != path:
                return TreeEntry(path, "hardlink", mode, uid, gid, link=first)
        return replace(entry, path=path, mode=mode, uid=uid, gid=gid, opaque=False)


def content_key(tree: Tree) -> Digest:
    """The key of a layer that is exactly *tree*; sizes follow from contents."""
    return digest_json({"kind": "copied-files", "version": COPY_FILES_VERSION, "entries": [_key_row(entry) for entry in tree]})


def _key_row(entry: TreeEntry) -> list[Any]:
    xattrs = [[name, value.hex()] for name, value in entry.xattrs]
    attributes = [entry.mode, entry.uid, entry.gid, entry.mtime, xattrs]
    return [entry.path, entry.type, *attributes, list(entry.device or ()), entry.link, entry.sha256]
