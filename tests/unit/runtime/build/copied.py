"""Layers, contexts and copies for the tests of COPY and ADD."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from runtime.build.copy.apply_copy_files import apply_copy_files
from runtime.build.observer import NullObserver
from runtime.build.plan import ContextFiles, CopyFiles
from runtime.layer.tree import Tree, TreeEntry
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

Entries = dict[str, tuple[str, int, int, int]]


def layer(store: Store, *entries: TreeEntry, **contents: str) -> Layer:
    """A layer of *entries*; contents by path, `a__b` is `a/b`."""
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        told = []
        texts = {path.replace("__", "/"): text for path, text in contents.items()}
        for entry in sorted(entries, key=lambda entry: entry.path):
            place = root / entry.path
            match entry.type:
                case "dir":
                    place.mkdir()
                case "symlink":
                    place.symlink_to(entry.link)
                case "hardlink":
                    os.link(root / entry.link, place)
                case "file":
                    place.write_text(texts.get(entry.path, ""))
                    entry = replace(entry, size=place.stat().st_size)
            told.append(entry)
        return store.publish(digest_bytes(repr((entries, contents)).encode()), root, Tree.of(told), label="base")


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> TreeEntry:
    return TreeEntry(path, "dir", mode, uid, gid)


def file(path: str, mode: int = 0o644, uid: int = 0, gid: int = 0, **more: object) -> TreeEntry:
    return TreeEntry(path, "file", mode, uid, gid, **more)  # type: ignore[arg-type]


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path, "symlink", 0o777, link=target)


def context(tmp_path: Path, *names: str, single: bool = False, under: str = "") -> ContextFiles:
    """Files of a context, each with its own name as content; a name with `/` at the end is a directory."""
    root = tmp_path / "context"
    listed = []
    for name in names:
        place = root / name
        if name.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            listed.append((name.rstrip("/"), under + name.rstrip("/"), 0o040755, ""))
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.write_text(name)
        listed.append((name, under + name, 0o644, hashlib.sha256(place.read_bytes()).hexdigest()))
    return ContextFiles(str(root), tuple(sorted(listed, key=lambda each: each[1])), single)


def copy(
    store: Store, step: CopyFiles, below: Sequence[Layer] = (), stage: Sequence[Layer] = (), stages: Sequence[str] = ("a",)
) -> Layer:
    digests = [digest_bytes(name.encode()) for name in stages]
    return apply_copy_files(
        step, store=store, below=below, stage_layers=lambda number: stage, observer=NullObserver(), stages=digests
    )


def entries(store: Store, made: Layer) -> Entries:
    return {entry.path: (entry.type, entry.mode, entry.uid, entry.gid) for entry in store.tree_of(made)}


def text(store: Store, made: Layer, path: str) -> str:
    return (store.layer_dir(made) / path).read_text()


NEW = ("dir", 0o755, 0, 0)
FILE = ("file", 0o644, 0, 0)
