"""Collect what nothing needs: by age, by a budget, or both.

What a run, a pin or a build in progress needs stays, and so does what a name leads to unless the caller says otherwise (as with
`docker image prune` and its `--all`). Choosing is a function of one look at the store (`choose`); while that is taken and names
go, nobody else gives or takes one, for milliseconds. What lost its name is removed afterwards, beside the builds that go on.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from runtime.file_lock import LockBusy, locked
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest
from runtime.store.failures import store_errors
from runtime.store.records import GATE, MARKS, PINS, Image
from runtime.store.staging import burial, remove_tree
from runtime.store.store import Store
from runtime.store.usage import StoredImage, Thing, Usage, blobs_of, look

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go. Both rules hold: first what is too old goes, then what was not used for longest until the rest fits."""

    unused_s: float | None = None
    """What was not used for so long goes; None: age alone is no reason."""
    max_bytes: int | None = None
    """So much may be left."""
    even_named: bool = False
    """A name alone keeps nothing."""
    blobs: bool = True
    """Whether blobs may go: fetched packages, which an archive may no longer have."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A file or directory outside the store that may be removed at any time."""

    path: Path
    thing: Thing
    lock: Path | None = None
    """Held by whoever uses it; then it stays."""


@dataclass(slots=True)
class Collected:
    """What goes."""

    images: list[Image] = field(default_factory=list)
    layers: list[Digest] = field(default_factory=list)
    blobs: list[Digest] = field(default_factory=list)
    caches: list[CacheEntry] = field(default_factory=list)
    freed_bytes: int = 0
    left_bytes: int = 0
    over_bytes: int = 0
    """By how much what is left is over the budget, since all of it is needed."""
    only_named: list[Image] = field(default_factory=list)
    """Images that would go if a name kept nothing."""


def collect(
    store: Store,
    rules: Rules,
    *,
    keep: Collection[str] = (),
    caches: Iterable[CacheEntry] = (),
    dry_run: bool = False,
    now: float | None = None,
) -> Collected:
    """Remove what *rules* let go, or only say what that is. *keep* are digests of images that runs use."""
    store.ensure()
    moment = time.time() if now is None else now
    if dry_run:
        return choose(look(store, keep=keep), rules, caches=list(caches), now=moment)
    store.sweep()
    with burial(store.root / "tmp") as bury:
        with store_errors(f"cannot collect garbage in `{store.root}`"), locked(store.root / GATE):
            going = choose(look(store, keep=keep), rules, caches=list(caches), now=moment)
            _take_names_away(store, going, bury)
        for entry in going.caches:
            with suppress(LockBusy), _unused(entry):
                remove_tree(entry.path)
    _forget_dangling(store)
    _forget_dead_locks(store)
    return going


def choose(usage: Usage, rules: Rules, *, caches: Sequence[CacheEntry] = (), now: float) -> Collected:
    """What goes of *usage* and *caches*. Changes nothing."""
    choice = _Choice(usage, rules, caches)
    if rules.unused_s is not None:
        choice.drop_unused(before=now - rules.unused_s)
    if rules.max_bytes is not None:
        choice.drop_until_it_fits(rules.max_bytes)
    return choice.going


_Entry = tuple[float, int, str, "StoredImage | Digest | CacheEntry"]
"""When it was used, and in which order things of one time go: images, what they are made of, caches."""


class _Choice:
    """What goes so far, and who still needs which layer and blob."""

    def __init__(self, usage: Usage, rules: Rules, caches: Sequence[CacheEntry]) -> None:
        self.usage = usage
        self.rules = rules
        self.caches = caches
        total = usage.size_bytes + sum(entry.thing.size_bytes for entry in caches)
        self.going = Collected(left_bytes=total)
        self.in_use_since = float("inf") if usage.builds_since is None else usage.builds_since
        self.staying = {stored.image.digest: stored for stored in usage.images}
        self.users: dict[Digest, int] = {}
        for stored in usage.images:
            self._count(stored, 1)

    def drop_unused(self, *, before: float) -> None:
        for stored in [stored for stored in self.usage.images if stored.needed is None and stored.used_at < before]:
            if self._may_go(stored):
                self._drop_image(stored)
            else:
                self.going.only_named.append(stored.image)
        limit = min(before, self.in_use_since)
        for digest, thing in self.usage.layers.items():
            if thing.used_at < limit and not self.users.get(digest):
                self._drop(self.going.layers, digest, thing)
        for digest, thing in self.usage.blobs.items():
            if self.rules.blobs and thing.used_at < limit and not self.users.get(digest):
                self._drop(self.going.blobs, digest, thing)
        for entry in self.caches:
            if entry.thing.used_at < limit:
                self._drop(self.going.caches, entry, entry.thing)

    def drop_until_it_fits(self, max_bytes: int) -> None:
        images = [stored for stored in self.staying.values() if self._may_go(stored)]
        heap: list[_Entry] = [(stored.used_at, 0, stored.image.digest, stored) for stored in images]
        gone = {*self.going.layers, *self.going.blobs}
        dropped = {entry.path for entry in self.going.caches}
        heap += [each for digest in self.usage.layers.keys() - gone for each in self._loose(digest, 0.0)]
        heap += [each for digest in self.usage.blobs.keys() - gone for each in self._loose(digest, 0.0)]
        free = [entry for entry in self.caches if entry.path not in dropped and entry.thing.used_at < self.in_use_since]
        heap += [(entry.thing.used_at, 2, os.fspath(entry.path), entry) for entry in free]
        heapq.heapify(heap)
        while heap and self.going.left_bytes > max_bytes:
            used_at, _, _, one = heapq.heappop(heap)
            if isinstance(one, StoredImage):
                self._drop_image(one)
                for digest in self._parts(one.image):
                    for each in self._loose(digest, used_at):
                        heapq.heappush(heap, each)
            elif isinstance(one, CacheEntry):
                self._drop(self.going.caches, one, one.thing)
            elif one in self.usage.layers:
                self._drop(self.going.layers, one, self.usage.layers[one])
            else:
                self._drop(self.going.blobs, one, self.usage.blobs[one])
        self.going.over_bytes = max(0, self.going.left_bytes - max_bytes)
        if self.going.over_bytes:
            listed = {image.digest for image in self.going.only_named}
            named = [stored.image for stored in self.staying.values() if stored.needed is None and stored.image.names]
            self.going.only_named += [image for image in named if image.digest not in listed]

    def _may_go(self, stored: StoredImage) -> bool:
        return stored.needed is None and (self.rules.even_named or not stored.image.names)

    def _loose(self, digest: Digest, used_at: float) -> Iterator[_Entry]:
        """A layer or blob that nobody needs, as an entry of the queue: no older than the image that it was used with."""
        layer = self.usage.layers.get(digest)
        thing = layer or (self.usage.blobs.get(digest) if self.rules.blobs else None)
        if thing is not None and not self.users.get(digest) and thing.used_at < self.in_use_since:
            yield max(used_at, thing.used_at), 1, digest, digest

    def _drop_image(self, stored: StoredImage) -> None:
        del self.staying[stored.image.digest]
        self.going.images.append(stored.image)
        self._count(stored, -1)

    def _drop(self, kind: list[_T], one: _T, thing: Thing) -> None:
        kind.append(one)
        self.going.freed_bytes += thing.size_bytes
        self.going.left_bytes -= thing.size_bytes

    def _count(self, stored: StoredImage, by: int) -> None:
        for digest in self._parts(stored.image):
            self.users[digest] = self.users.get(digest, 0) + by

    @staticmethod
    def _parts(image: Image) -> set[Digest]:
        return {*(layer.diff_id for layer in image.layers), *blobs_of(image)}


def _unused(entry: CacheEntry) -> AbstractContextManager[object]:
    """Hold the lock of *entry* for the body. Raises LockBusy when somebody uses it."""
    return nullcontext() if entry.lock is None else locked(entry.lock, wait=False)


def _take_names_away(store: Store, going: Collected, bury: Callable[[Path], None]) -> None:
    # Images before layers: whoever dies in between leaves layers without an image, not an image without layers.
    for image in going.images:
        (store.root / "images" / f"{image.digest.hex}.json").unlink(missing_ok=True)
    for diff_id in going.layers:
        bury(store.root / "layers" / diff_id.hex)
        (store.root / MARKS / diff_id.hex).unlink(missing_ok=True)
    for digest in going.blobs:
        store.blob_path(digest).unlink(missing_ok=True)


def remove_image(store: Store, image: Image) -> None:
    """Forget *image*, its names and its pin; `collect` removes layers that only it had."""
    store.ensure()
    for path in _files(store.root / "names"):
        if path.read_text().strip() == image.digest:
            path.unlink(missing_ok=True)
    (store.root / PINS / image.digest.hex).unlink(missing_ok=True)
    (store.root / "images" / f"{image.digest.hex}.json").unlink(missing_ok=True)


def _forget_dangling(store: Store) -> None:
    """Remove plans, names, pins and attachments of images, and keys of layers, that are gone."""
    images = {digest.hex for digest in store.image_digests()}
    layers = {diff_id.hex for diff_id in store.layers()}
    leading_to_images = [path for name in ("plans", "names", "attachments", PINS) for path in _files(store.root / name)]
    dangling = [path for path in leading_to_images if _image_of(path) not in images]
    dangling += [path for path in _files(store.root / "keys") if (layer := _layer_of(path)) is not None and layer not in layers]
    if not dangling:
        return
    with locked(store.root / GATE):
        # Somebody may have made the image or the layer again since.
        for path in dangling:
            leads_to = _layer_of(path) if path.parent.name == "keys" else _image_of(path)
            home = f"layers/{leads_to}" if path.parent.name == "keys" else f"images/{leads_to}.json"
            if leads_to is not None and not (store.root / home).exists():
                path.unlink(missing_ok=True)


def _image_of(path: Path) -> str | None:
    """Hex digest of the image that the file of `plans`, `names`, `attachments` or `pins` belongs to; None when it is gone."""
    if path.parent.name in ("attachments", PINS):
        return path.name.partition(".")[0]
    try:
        return path.read_text().strip().removeprefix("sha256:") or "empty"
    except FileNotFoundError:
        return None


_KEY_START = b'{"diff_id":"sha256:'
"""How a key of a layer begins: canonical JSON is sorted, and its other fields may be long."""


def _layer_of(path: Path) -> str | None:
    """Hex diff_id that the key leads to; None for a key of something else, or one that is gone."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_KEY_START) + 64)
    except FileNotFoundError:
        return None
    if not start:
        return "empty"  # cut off by a power cut
    return start[len(_KEY_START) :].decode("ascii", "replace") if start.startswith(_KEY_START) else None


def _forget_dead_locks(store: Store) -> None:
    """Remove lock files of killed builders."""
    for path in _files(store.root / "locks"):
        with suppress(LockBusy, FileNotFoundError), locked(path, wait=False) as descriptor:
            # Only if the lock that we have is the one that the name leads to: see `in_use.py`.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                path.unlink()


def _files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())
